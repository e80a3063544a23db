"""`botsession drivers`: list the installed drivers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from botsession import ConfigError, DriverConflictError, DriverLoadError, drivers, utc_now
from botsession.protocol import capabilities
from botsession_console.exits import FAILED, say
from botsession_console.failures import describe


@dataclass(slots=True, frozen=True)
class _Row:
    """One driver: all of its names, its package, and its capabilities or why they are unknown."""

    names: str
    package: str
    version: str
    capabilities: str
    is_broken: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "List the installed drivers with their capabilities. The exit code is 1 if one of them is broken."
    )


def run(_: argparse.Namespace) -> int:
    """List the drivers."""
    rows = _installed()
    lines = _table(rows) if rows else ["no driver is installed; start with: pip install botsession-memory"]
    say("\n".join(lines) + "\n")
    return FAILED if any(row.is_broken for row in rows) else 0


def _installed() -> list[_Row]:
    """Load all drivers and return one row for each."""
    rows: list[_Row] = []
    seen: set[str] = set()
    for name in drivers.names():
        if name not in seen:
            names = [name, *drivers.aliases(name)]
            seen.update(names)
            rows.append(_load(names))
    return rows


def _load(names: Sequence[str]) -> _Row:
    owners = [point.dist for point in drivers.entry_points(names[0]) if point.dist is not None]
    packages = ", ".join(owner.name for owner in owners) or "(none)"
    versions = ", ".join(owner.version for owner in owners) or "-"
    is_broken = False
    try:
        text = ", ".join(capabilities(drivers.open_store(names[0], {}, utc_now))) or "none"
    except ConfigError as error:
        text = f"unknown without options: {error.message}"
    except (DriverLoadError, DriverConflictError) as error:
        text, is_broken = f"BROKEN: {error}", True
    except Exception as error:  # noqa: BLE001 - one driver must not hide the others
        text, is_broken = f"BROKEN: {describe(error)}", True
    return _Row(", ".join(names), packages, versions, " ".join(text.split()), is_broken)


def _table(rows: Sequence[_Row]) -> list[str]:
    cells = [("DRIVER", "PACKAGE", "VERSION", "CAPABILITIES")]
    cells += [(row.names, row.package, row.version, row.capabilities) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]) for line in cells
    ]
