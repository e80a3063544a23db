"""Whether the package of a driver fits what is installed beside it."""

from __future__ import annotations

import re
from typing import Final

import importlib_metadata

from botsession.configuration.discovery import drivers
from botsession.protocol import Finding

TOPIC: Final = "package"

_CORE: Final = "botsession-core"
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?")
_CLAUSE: Final = re.compile(r"(==|!=|<=|>=|~=|<|>)\s*v?([0-9]+(?:\.[0-9]+)*)(\.\*)?")
_RELEASE: Final = re.compile(r"v?(?:[0-9]+!)?([0-9]+(?:\.[0-9]+)*)")


def examine_packages(driver: str) -> list[Finding]:
    """Returns what is to be said of the packages that offer a driver: their versions, and those of what they need."""
    core = importlib_metadata.version(_CORE)
    found: list[Finding] = []
    for point in drivers.entry_points(driver):
        if point.dist is None:
            continue
        owner = f"{point.dist.name} {point.dist.version}"
        found.append(Finding("ok", TOPIC, f"{owner} offers driver {driver!r}, beside {_CORE} {core}"))
        for requirement in point.dist.requires or ():
            finding = _examine(owner, point.dist.name, requirement)
            if finding is not None:
                found.append(finding)
    return found


def fits(version: str, wanted: str) -> bool | None:
    """Tells whether a version is in a range such as `>=1.2,<2`; `None` where that cannot be told.

    It compares release numbers; a pre-release counts as its release.
    """
    has = _numbers(version)
    for clause in filter(None, (part.strip() for part in wanted.split(","))):
        match = _CLAUSE.fullmatch(clause)
        if match is None or has is None:
            return None
        operator, limit, series = match[1], _numbers(match[2]) or (), match[3]
        if not _holds(has, operator, limit, series=bool(series)):
            return False
    return True


def _examine(owner: str, package: str, requirement: str) -> Finding | None:
    """Returns what is wrong with one requirement; `None` where nothing is, or where it holds only elsewhere."""
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        return None
    name, wanted = match[1], match[2].strip()
    try:
        version = importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return Finding(
            "error", TOPIC, f"{owner} needs {name}, which is not installed", f"pip install {_quoted(name + wanted)}"
        )
    if fits(version, wanted) is not False:
        return None
    cure = f"pip install --upgrade {package}" if name == _CORE else f"pip install {_quoted(name + wanted)}"
    return Finding("error", TOPIC, f"{owner} needs {name} {wanted}, and {version} is installed", cure)


def _holds(has: tuple[int, ...], operator: str, limit: tuple[int, ...], *, series: bool) -> bool:
    size = max(len(has), len(limit))
    left, right = has + (0,) * (size - len(has)), limit + (0,) * (size - len(limit))
    same_series = left[: len(limit)] == limit
    if operator == "~=":
        return left >= right and left[: len(limit) - 1] == limit[:-1]
    if operator in ("==", "!="):
        return (same_series if series else left == right) == (operator == "==")
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


def _numbers(version: str) -> tuple[int, ...] | None:
    match = _RELEASE.match(version)
    return None if match is None else tuple(map(int, match[1].split(".")))


def _quoted(requirement: str) -> str:
    return f"'{requirement}'" if set(requirement) & set("<>!~* ") else requirement
