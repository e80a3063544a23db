"""The files of a new driver: the templates of this package, with the driver's names put in."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import shlex
from pathlib import Path
from string import Template
from typing import Final

from botsession import ConfigError, utc_now
from botsession_console.new_driver.naming import Naming, check_name

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
"""What is written; the template of each is called as the file is, with `.txt`, so that no tool takes it for code."""


def new_driver(name: str, directory: str) -> str:
    """Writes the package of a new driver into a new folder.

    Args:
        name: The driver's name.
        directory: Where to put the folder; made where it is absent.

    Returns:
        What to tell: the files, and the next two commands.

    Raises:
        ConfigError: The name is none or taken, or the folder is there and not empty, or cannot be written.
    """
    naming = check_name(name)
    folder = Path(directory, naming.package)
    files = render(naming)
    try:
        if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
            raise ConfigError(f"{folder} is there already and no empty folder; nothing was written")
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return "\n".join(
        [
            f"written to {folder}:",
            *(f"  {path}" for path in files),
            "next:",
            f"  cd {shlex.quote(str(folder))}",
            "  pip install --editable '.[test]' && pytest",
        ]
    )


def render(naming: Naming) -> dict[str, str]:
    """Returns the text of each file by its path in the package."""
    words = {
        "name": naming.name,
        "package": naming.package,
        "module": naming.module,
        "title": naming.title,
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
    """Returns the versions of the core to ask for: from this one to below the next major one."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{int(major) + 1}"
