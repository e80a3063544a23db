"""How long the faults go on, from which seed they come, and what they report.

Every random choice derives from one seed, which the header shows: `pytest tests/faults --seed 42` makes the same choices
again, although processes may still overtake each other in another way.
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
    """Chooses between the short run and the long one."""

    def __call__(self, short: int, long: int) -> int: ...


class Figures(Protocol):
    """Reports one line, and the numbers in it by name."""

    def __call__(self, line: str, **numbers: object) -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--long", action="store_true", help="the long run of the fault suite, of about an hour")
    group.addoption("--seed", type=int, help="where the random choices of the fault suite come from")
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
    """The seed of the whole run."""
    return request.config.stash[SEED]


@pytest.fixture
def chance(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """The random choices of this test, the same for one seed whatever other tests run."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """`scale(40, 1000)` is 40 in the short run and 1000 in the long one."""
    is_long = request.config.getoption("--long", default=False)
    return lambda short, long: long if is_long else short


@pytest.fixture
def figures(request: pytest.FixtureRequest, seed: int) -> Callable[..., None]:
    """`figures("redis: 40 kills, 0 lost", kills=40, lost=0)` reports at the end of the run."""

    def report(line: str, **numbers: object) -> None:
        request.config.stash[FIGURES].append({"test": request.node.nodeid, "seed": seed, "line": line, **numbers})

    return report
