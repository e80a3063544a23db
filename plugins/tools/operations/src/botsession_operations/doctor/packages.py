"""Whether the package of a driver fits the other installed packages."""

from __future__ import annotations

from typing import Final

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement

from botsession.configuration.discovery import drivers
from botsession.protocol import Finding

TOPIC: Final = "package"

_CORE: Final = "botsession-core"


def examine_packages(driver: str) -> list[Finding]:
    """Return findings about each package that offers the driver: its version, and requirements that are not met."""
    core = importlib_metadata.version(_CORE)
    findings: list[Finding] = []
    for point in drivers.entry_points(driver):
        if point.dist is None:
            continue
        owner = f"{point.dist.name} {point.dist.version}"
        findings.append(Finding("ok", TOPIC, f"{owner} offers driver {driver!r} for {_CORE} {core}"))
        for requirement in point.dist.requires or ():
            finding = _examine(owner, point.dist.name, requirement)
            if finding is not None:
                findings.append(finding)
    return findings


def _examine(owner: str, package: str, text: str) -> Finding | None:
    """Return what is wrong with a requirement, or `None` if it is met or does not apply here."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    name, specifier = requirement.name, requirement.specifier
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    wanted = f"{name}{specifier}"
    install = f"pip install {wanted if wanted == name else repr(wanted)}"
    try:
        version = importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return Finding("error", TOPIC, f"{owner} needs {name}, which is not installed", install)
    if specifier.contains(version, prereleases=True):
        return None
    remedy = f"pip install --upgrade {package}" if name == _CORE else install
    return Finding("error", TOPIC, f"{owner} needs {wanted}, but {version} is installed", remedy)
