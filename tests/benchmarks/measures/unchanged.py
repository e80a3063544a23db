"""A turn that changes nothing, against a read."""

from __future__ import annotations

import asyncio

from benchmarks.contender import opened
from benchmarks.figures import Figure, Figures
from benchmarks.measuring import fill, race
from benchmarks.ours import Ours, ours
from benchmarks.place import prepared
from benchmarks.plan import Plan
from benchmarks.workload import SMALL, session_ids

CASE = "1 KB, 1 task"


def measure(plan: Plan, figures: Figures) -> None:
    """Measure turns that change nothing."""
    for backend in plan.backends:
        asyncio.run(_measure(plan, figures, backend))


async def _measure(plan: Plan, figures: Figures, backend: str) -> None:
    with prepared(backend) as place:
        async with opened(ours(place, SMALL)) as contenders:
            ids = session_ids(plan.ids(backend))
            for contender in contenders:
                assert isinstance(contender, Ours)
                await fill(contender.turn, ids)
                read = f"{contender.name} read"
                operations = {contender.name: contender.unchanged_turn, read: contender.read}
                outcomes = await race(operations, ids, tasks=1, rounds=plan.rounds, seconds=plan.seconds)
                for name, rounds in outcomes.items():
                    numbers = [each.p50 for each in rounds]
                    figures.add(Figure("unchanged turn: p50", backend, name, CASE, "us", numbers, (read, CASE)))
