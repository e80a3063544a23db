"""What `botsession drivers` shows: the installed drivers, the broken ones included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from botsession import (
    ConfigError,
    DriverConflictError,
    DriverLoadError,
    drivers,
    utc_now,
)
from botsession.protocol import capabilities
from botsession_console.failures import describe


@dataclass(slots=True, frozen=True)
class Installed:
    """One driver.

    Attributes:
        names: The names it is chosen by.
        package: The package that offers it.
        version: The package's version.
        capabilities: What its store can do beyond reading and writing; the reason where that cannot be told.
        broken: Whether it cannot be used.
    """

    names: str
    package: str
    version: str
    capabilities: str
    broken: bool = False


def installed() -> list[Installed]:
    """Returns all drivers, each with all of its names; loads them."""
    found: list[Installed] = []
    seen: set[str] = set()
    for name in drivers.names():
        if name not in seen:
            names = [name, *drivers.aliases(name)]
            seen.update(names)
            found.append(_examine(names))
    return found


def table(rows: Sequence[Installed]) -> list[str]:
    """Returns the lines of a table."""
    cells = [("DRIVER", "PACKAGE", "VERSION", "CAPABILITIES")]
    cells += [(row.names, row.package, row.version, row.capabilities) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]) for line in cells
    ]


def _examine(names: Sequence[str]) -> Installed:
    owners = [point.dist for point in drivers.entry_points(names[0]) if point.dist is not None]
    packages = ", ".join(owner.name for owner in owners) or "(none)"
    versions = ", ".join(owner.version for owner in owners) or "-"
    try:
        text, broken = ", ".join(capabilities(drivers.open_store(names[0], {}, utc_now))) or "none", False
    except ConfigError as error:
        text, broken = f"not known without options: {error}", False
    except (DriverLoadError, DriverConflictError) as error:
        text, broken = f"BROKEN: {error}", True
    except Exception as error:  # noqa: BLE001 - one driver must not hide the others
        text, broken = f"BROKEN: {describe(error)}", True
    return Installed(", ".join(names), packages, versions, " ".join(text.split()), broken)
