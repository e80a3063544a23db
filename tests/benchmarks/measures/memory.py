"""Memory per session: the memory driver against cachetools with msgspec's bytes, in a process each."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from benchmarks.figures import Figure, Figures
from benchmarks.plan import Plan

_PROGRAM: Final = """
import asyncio, gc, sys, tracemalloc
from benchmarks.bare import BareMemory
from benchmarks.ours import Ours
from benchmarks.place import prepared
from benchmarks.workload import SMALL

async def main():
    with prepared("memory") as place:
        contender = {kind}(place, SMALL)
        await contender.open()
        await contender.turn("bench:first")
        gc.collect()
        tracemalloc.start()
        for number in range({count}):
            await contender.turn("bench:" + str(number))
        gc.collect()
        print(tracemalloc.get_traced_memory()[0] / {count})

asyncio.run(main())
"""


def measure(plan: Plan, figures: Figures) -> None:
    """Measure bytes per session."""
    if "memory" in plan.backends:
        count = 100_000 if plan.full else 20_000
        case = f"{count:,} sessions of 1 KB"
        for name, kind in (("botsession", "Ours"), ("bare client", "BareMemory")):
            program = _PROGRAM.format(kind=kind, count=count)
            output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            numbers = [float(output.stdout)]
            figures.add(Figure("bytes per session", "memory", name, case, "bytes", numbers, ("bare client", case)))
