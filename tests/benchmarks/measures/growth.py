"""Growth: turns over a million ids against turns over ten thousand, on in-memory backends, in full runs only."""

from __future__ import annotations

import asyncio

from benchmarks.contender import opened
from benchmarks.figures import Figure, Figures
from benchmarks.measuring import Operation, fill, race
from benchmarks.ours import Ours
from benchmarks.place import prepared
from benchmarks.plan import Plan
from benchmarks.workload import SMALL, session_ids

FEW, MANY = 10_000, 1_000_000
TASKS = 64


def measure(plan: Plan, figures: Figures) -> None:
    """Measure throughput in small and large stores."""
    if plan.full:
        for backend in ("memory", "redis"):
            if backend in plan.backends:
                asyncio.run(_measure(plan, figures, backend))


async def _measure(plan: Plan, figures: Figures, backend: str) -> None:
    with prepared(backend) as place:
        cases = {f"{count:,} ids": count for count in (FEW, MANY)}
        async with opened([Ours(place, SMALL) for _ in cases]) as contenders:
            operations: dict[str, Operation] = {}
            for contender, (case, count) in zip(contenders, cases.items(), strict=True):
                ids = session_ids(count)
                await fill(contender.turn, ids, tasks=512)
                operations[case] = _over(contender.turn, ids)
            outcomes = await race(operations, [""], tasks=TASKS, rounds=plan.rounds, seconds=plan.seconds)
        first = next(iter(cases))
        for case, rounds in outcomes.items():
            numbers = [each.per_second for each in rounds]
            figures.add(
                Figure(
                    "growth: turns per second", backend, "botsession", case, "turns/s", numbers, ("botsession", first)
                )
            )


def _over(turn: Operation, ids: list[str]) -> Operation:
    """Return a turn that cycles through these ids and ignores its argument."""
    place = 0

    async def run(_session_id: str) -> None:
        nonlocal place
        place = (place + 1) % len(ids)
        await turn(ids[place])

    return run
