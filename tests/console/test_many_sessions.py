"""How much memory the commands need does not depend on how many sessions there are.

With `BOTSESSION_TEST_MANY=100000` in the environment it is tried with as many.
"""

from __future__ import annotations

import os
import sys

import pytest
from console import filled
from console.filled import DRIVER

COUNT = int(os.environ.get("BOTSESSION_TEST_MANY", "5000"))
FEW = 1000
"""A page of the driver holds as many."""

MEASURE = """\
import os, sys, tracemalloc
from botsession_console.command import main
few, many = (sys.argv[1].split("|"), sys.argv[2].split("|"))
sys.stdout = open(os.devnull, "w")
main(few)  # loads what is loaded once
tracemalloc.start()
for arguments in (few, many):
    tracemalloc.reset_peak()
    assert main(arguments) == 0
    print(tracemalloc.get_traced_memory()[1], file=sys.__stdout__)
"""


@pytest.fixture
def many(folder):
    filled.fill(folder, COUNT)
    (folder / "few").mkdir()
    filled.fill(folder / "few", FEW)
    (folder / "few.toml").write_text('driver = "file"\n[stores.file]\ndirname = "few/.sessions"\n')
    (folder / "measure.py").write_text(MEASURE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["list", "--sort", "activity", "--limit", "10"],
        ["stats"],
        ["delete", "--yes", "--prefix", "telegram:"],
    ],
)
def test_memory_is_bounded(run, many, arguments):
    few = "|".join([*arguments, "--config", "few.toml"])
    done = run(few, "|".join([*arguments, *DRIVER]), command=(sys.executable, "measure.py"))
    few_bytes, many_bytes = map(int, done.stdout.split())
    assert many_bytes < few_bytes + 1_000_000
