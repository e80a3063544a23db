"""The memory that the commands use does not depend on the number of sessions.

Set `BOTSESSION_TEST_MANY=100000` in the environment to test with that many.
"""

from __future__ import annotations

import os
import sys

from console import filled

COUNT = int(os.environ.get("BOTSESSION_TEST_MANY", "4000"))
FEW = 1000
"""As many sessions as fit in four pages of the driver."""

ROOM_BYTES = 1_000_000
"""Far less memory than the sessions would take, even if only their entries in a scan were kept."""

MEASURE = """\
import os, sys, tracemalloc
from botsession_console.command import main
sys.stdout = open(os.devnull, "w")
for command in ("list", "list --json", "list --sort activity --limit 10", "stats", "delete --yes --prefix telegram:"):
    few = [*command.split(), "--config", "few.toml"]
    if not command.startswith("delete"):
        main(few)  # loads what is loaded once
    tracemalloc.start()
    assert main(few) == 0
    few_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert main([*command.split(), "--driver", "file"]) == 0
    print(command, few_bytes, tracemalloc.get_traced_memory()[1], sep="|", file=sys.__stdout__)
    tracemalloc.stop()
"""


def test_memory_is_bounded(run, folder):
    filled.fill(folder, COUNT)
    (folder / "few").mkdir()
    filled.fill(folder / "few", FEW)
    (folder / "few.toml").write_text('driver = "file"\n[stores.file]\ndirname = "few/.sessions"\n')
    (folder / "measure.py").write_text(MEASURE)
    measured = [line.split("|") for line in run(command=(sys.executable, "measure.py")).stdout.splitlines()]
    assert len(measured) == 5
    for command, few_bytes, many_bytes in measured:
        assert int(many_bytes) < int(few_bytes) + ROOM_BYTES, command
