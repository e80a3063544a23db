"""Leases: turns with a lease against turns that are serialized within the process only."""

from __future__ import annotations

import asyncio

from benchmarks.contender import opened
from benchmarks.figures import Figure, Figures
from benchmarks.measuring import fill, race
from benchmarks.ours import HAS_LOCKS, ours
from benchmarks.place import prepared
from benchmarks.plan import Plan
from benchmarks.workload import SMALL, session_ids


def measure(plan: Plan, figures: Figures) -> None:
    """Measure the cost of leases on backends that several processes share."""
    if HAS_LOCKS:
        for backend in plan.backends:
            if backend != "memory":
                asyncio.run(_measure(plan, figures, backend))


async def _measure(plan: Plan, figures: Figures, backend: str) -> None:
    with prepared(backend) as place:
        on = ours(place, SMALL, label="lease")
        off = ours(place, SMALL, label="lock=local", lock="local")
        without = dict(zip((each.name for each in on), (each.name for each in off), strict=True))
        async with opened([*on, *off]) as contenders:
            ids = session_ids(plan.ids(backend))
            for contender in contenders:
                await fill(contender.turn, ids)
            for tasks in (1, 64):
                case = f"1 KB, {tasks} tasks" if tasks > 1 else "1 KB, 1 task"
                outcomes = await race(
                    {contender.name: contender.turn for contender in contenders},
                    ids,
                    tasks=tasks,
                    rounds=plan.rounds,
                    seconds=plan.seconds,
                )
                for name, rounds in outcomes.items():
                    against = (without.get(name, name), case)
                    if tasks == 1:
                        p50 = [each.p50 for each in rounds]
                        figures.add(Figure("lease: p50", backend, name, case, "us", p50, against))
                    speed = [each.per_second for each in rounds]
                    figures.add(Figure("lease: turns per second", backend, name, case, "turns/s", speed, against))
