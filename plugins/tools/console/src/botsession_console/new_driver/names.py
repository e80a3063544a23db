"""Names of a new driver, derived from the name that users choose it by."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from typing import Final

from botsession import ConfigError, drivers

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST: Final = 30
"""With a longer name, a formatter would change lines of the templates."""
_OURS: Final = frozenset({"console", "core", "file", "memory", "mongo", "operations", "redis"})
"""Packages of botsession itself, which may not be installed here."""

_REMEDY: Final = "Choose another name."


@dataclass(frozen=True, slots=True)
class DriverNames:
    """The names of one driver.

    Attributes:
        name: The name by which users choose the driver.
        package: The name of the distribution and of its directory.
        module: The name of the importable package.
        title: The prefix of its class names.
    """

    name: str
    package: str
    module: str
    title: str


def check_name(name: str) -> DriverNames:
    """Return the names derived from a driver's name.

    Raises:
        ConfigError: The name is invalid or taken.
    """
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a valid driver name",
            remedy=f"Use at most {_LONGEST} lower-case letters and digits, with single - or _ between them, starting with a "
            "letter.",
        )
    if name.startswith(("botsession-", "botsession_")):
        raise ConfigError(
            "a driver's name does not include botsession-", remedy=f"Run: botsession new-driver {name[11:]}"
        )
    words = re.split("[-_]", name)
    names = DriverNames(
        name,
        package="-".join(["botsession", *words]),
        module="_".join(["botsession", *words]),
        title="".join(word.capitalize() for word in words),
    )
    _check_free(names)
    return names


def _check_free(names: DriverNames) -> None:
    if points := drivers.entry_points(names.name):
        owner = f" (by {points[0].dist.name})" if points[0].dist is not None else ""
        raise ConfigError(f"a driver {names.name!r} is already installed{owner}", remedy=_REMEDY)
    if names.name in _OURS:
        raise ConfigError(f"{names.package} is a package of botsession itself", remedy=_REMEDY)
    try:
        importlib.metadata.distribution(names.package)
    except importlib.metadata.PackageNotFoundError:
        return
    raise ConfigError(f"a package {names.package} is already installed", remedy=_REMEDY)
