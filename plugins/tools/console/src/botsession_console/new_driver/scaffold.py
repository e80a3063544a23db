"""The files of a new driver, from the templates of this package."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import shlex
from pathlib import Path
from string import Template
from typing import Final

from botsession import ConfigError, utc_now
from botsession_console.new_driver.names import DriverNames, check_name

_FILES: Final = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".gitignore",
    "noxfile.py",
    "src/$module/__init__.py",
    "src/$module/backend.py",
    "src/$module/store.py",
    "src/$module/py.typed",
    "tests/test_conformance.py",
)
"""The files to write. Each template has the suffix `.txt`, so that no tool takes it for code."""


def new_driver(name: str, directory: str) -> str:
    """Create the package of a new driver in a new directory.

    Args:
        name: The driver's name.
        directory: The parent directory, created if it is absent.

    Returns:
        A message with the files and the next two commands.

    Raises:
        ConfigError: The name is invalid or taken, or the directory is not empty or cannot be written.
    """
    names = check_name(name)
    folder = Path(directory, names.package)
    files = render(names)
    try:
        if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
            raise ConfigError(f"{folder} already exists and is not an empty directory")
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return "\n".join(
        [
            f"written to {folder}:",
            *(f"  {path}" for path in files),
            "next:",
            f"  cd {shlex.quote(str(folder))}",
            "  pip install --editable '.[test]' && pytest",
        ]
    )


def render(names: DriverNames) -> dict[str, str]:
    """Return the text of each file by its path in the package."""
    words = {
        "name": names.name,
        "package": names.package,
        "module": names.module,
        "title": names.title,
        "core": core_range(importlib.metadata.version("botsession-core")),
        "year": str(utc_now().year),
    }
    folder = importlib.resources.files(__package__) / "template"
    return {
        Template(path).substitute(words): Template(
            (folder / f"{path.rpartition('/')[2]}.txt").read_text(encoding="utf-8")
        ).substitute(words)
        for path in _FILES
    }


def core_range(version: str) -> str:
    """Return the range of core versions to require: from this one to the next major one, exclusive."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{int(major) + 1}"
