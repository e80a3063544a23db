"""Writes the matrix of drivers and capabilities from a run of the kit, where `BOTSESSION_TEST_MATRIX` names a file."""

from __future__ import annotations

import os
import pathlib
from collections import Counter, defaultdict

import pytest

from botsession.protocol import CAPABILITIES, capabilities
from botsession.testing import StoreContract

HEAD = """\
# Drivers and their capabilities

This page is written by a run of the conformance kit: a driver has the capability if its store has the methods, and a cell counts the
kit's tests that passed. Tests that do not apply to a driver are skipped and are not counted.

"""

_CHECKED = "botsession-kit"

_outcomes: defaultdict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
_powers: dict[str, list[str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    suite = getattr(item, "cls", None)
    of_a_driver = suite is not None and issubclass(suite, StoreContract) and item.path.stem != "test_mutants"
    if of_a_driver and (report.when == "call" or report.skipped):
        topic = _topic(next(base for base in StoreContract.__mro__ if item.originalname in vars(base)))
        checked = (suite.__name__.removeprefix("Test"), topic, capabilities(suite().make_store(None, "matrix")))
        report.user_properties.append((_CHECKED, checked))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts what the workers of a parallel run report, too."""
    for name, checked in report.user_properties:
        if name == _CHECKED:
            driver, topic, _powers[driver] = checked
            _outcomes[driver][topic][report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    is_worker = hasattr(session.config, "workerinput")
    if (file := os.environ.get("BOTSESSION_TEST_MATRIX")) and _outcomes and not is_worker:
        pathlib.Path(file).write_text(
            HEAD + _powers_table() + "\n## What the kit checked\n\n" + _topics_table(), encoding="utf-8"
        )


def _topic(base: type) -> str:
    return (base.__doc__ or base.__name__).splitlines()[0].rstrip(".")


def _powers_table() -> str:
    drivers = sorted(_powers)
    rows = [
        [f"`{capability}`", *("yes" if capability in _powers[driver] else "" for driver in drivers)]
        for capability in CAPABILITIES
    ]
    return _table(["capability", *drivers], rows)


def _topics_table() -> str:
    drivers = sorted(_outcomes)
    topics = [topic for topic in map(_topic, StoreContract.__mro__) if any(topic in of for of in _outcomes.values())]
    rows = [[topic, *(_cell(_outcomes[driver][topic]) for driver in drivers)] for topic in topics]
    return _table(["topic", *drivers], rows)


def _cell(counted: Counter[str]) -> str:
    failed = f", **{counted['failed']} failed**" if counted["failed"] else ""
    return f"{counted['passed']}{failed}" if counted["passed"] or failed else ""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
