"""What a driver may be called, and what follows from its name."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from typing import Final

from botsession import ConfigError, drivers

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST: Final = 30
"""With a longer name the lines of the templates would not all be as a formatter leaves them."""
_OURS: Final = frozenset({"console", "core", "file", "memory", "mongo", "redis"})
"""Packages of botsession itself, which need not be installed here."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of one driver.

    Attributes:
        name: What users choose it by.
        package: The distribution, and the folder of its source.
        module: What is imported.
        title: How the names of its classes begin.
    """

    name: str
    package: str
    module: str
    title: str


def check_name(name: str) -> Naming:
    """Returns what follows from a driver's name.

    Raises:
        ConfigError: It is no name for a driver, or taken.
    """
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a driver's name is at most {_LONGEST} lower-case letters and digits, with single - or _ between them, and "
            f"begins with a letter; got {name!r}"
        )
    if name.startswith(("botsession-", "botsession_")):
        raise ConfigError(f"a driver's name goes without botsession-; say: botsession new-driver {name[11:]}")
    words = re.split("[-_]", name)
    naming = Naming(
        name,
        package="-".join(["botsession", *words]),
        module="_".join(["botsession", *words]),
        title="".join(word.capitalize() for word in words),
    )
    _check_free(naming)
    return naming


def _check_free(naming: Naming) -> None:
    if points := drivers.entry_points(naming.name):
        owner = f" (by {points[0].dist.name})" if points[0].dist is not None else ""
        raise ConfigError(f"a driver {naming.name!r} is installed already{owner}; choose another name")
    if naming.name in _OURS:
        raise ConfigError(f"{naming.package} is a package of botsession itself; choose another name")
    try:
        importlib.metadata.distribution(naming.package)
    except importlib.metadata.PackageNotFoundError:
        return
    raise ConfigError(f"a package {naming.package} is installed already; choose another name")
