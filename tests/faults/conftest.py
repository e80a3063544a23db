"""Duration, seed and report of the fault tests.

All random choices derive from one seed, which the header shows. `pytest tests/faults --seed 42` repeats the choices,
but processes may still interleave differently.
"""

from __future__ import annotations

import json
import pathlib
import random
from collections.abc import Callable
from typing import Any, Protocol

import pytest

SEED = pytest.StashKey[int]()
FIGURES = pytest.StashKey[list[dict[str, Any]]]()


class Scale(Protocol):
    """Choose between a value for the short run and one for the long run."""

    def __call__(self, short: int, long: int) -> int: ...


class Figures(Protocol):
    """Report a line, and its figures by name."""

    def __call__(self, line: str, **numbers: object) -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--long", action="store_true", help="run the long version of the fault suite, about an hour")
    group.addoption("--seed", type=int, help="seed of the fault suite's random choices")
    group.addoption("--figures", metavar="FILE", help="append the figures of the fault suite to FILE, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    seed = config.getoption("--seed", default=None)
    config.stash[SEED] = random.SystemRandom().getrandbits(32) if seed is None else seed
    config.stash[FIGURES] = []
    if config.getoption("hypothesis_seed", default=None) is None:
        config.option.hypothesis_seed = str(config.stash[SEED])


def pytest_report_header(config: pytest.Config) -> str:
    length = "long" if config.getoption("--long", default=False) else "short"
    return f"faults: seed {config.stash[SEED]}, {length} run"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if figures:
        terminalreporter.section(f"faults, seed {config.stash[SEED]}")
        for each in figures:
            terminalreporter.write_line(each["line"])
    if file := config.getoption("--figures", default=None):
        with pathlib.Path(file).open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(each) + "\n" for each in figures)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of the whole run."""
    return request.config.stash[SEED]


@pytest.fixture
def chance(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Return this test's random generator, which depends on the seed but not on which other tests run."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """Return a function: `scale(40, 1000)` is 40 in the short run and 1000 in the long one."""
    is_long = request.config.getoption("--long", default=False)
    return lambda short, long: long if is_long else short


@pytest.fixture
def figures(request: pytest.FixtureRequest, seed: int) -> Callable[..., None]:
    """Return a function: `figures("redis: 40 kills, 0 lost", kills=40, lost=0)` reports at the end of the run."""

    def report(line: str, **numbers: object) -> None:
        request.config.stash[FIGURES].append({"test": request.node.nodeid, "seed": seed, "line": line, **numbers})

    return report
