"""Turns over many ids: the latency of one task, and the throughput of many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.bare import bare_clients
from benchmarks.contender import Contender, opened
from benchmarks.figures import Figure, Figures, failures
from benchmarks.measuring import Round, fill, race
from benchmarks.ours import ours
from benchmarks.peers import peers
from benchmarks.place import Place, prepared
from benchmarks.plan import Plan
from benchmarks.workload import Workload, session_ids


def measure(plan: Plan, figures: Figures) -> None:
    """Measure latency and throughput of turns."""
    for backend in plan.backends:
        for workload in plan.workloads:
            asyncio.run(_measure(plan, figures, backend, workload))


async def _measure(plan: Plan, figures: Figures, backend: str, workload: Workload) -> None:
    with prepared(backend) as place:
        others = peers(place, workload) if plan.peers else ()
        async with opened([*ours(place, workload), *bare_clients(place, workload), *others]) as contenders:
            ids = session_ids(plan.ids(backend))
            for contender in contenders:
                await fill(contender.turn, ids)
            for tasks in plan.tasks(backend):
                outcomes = await race(
                    {contender.name: contender.turn for contender in contenders},
                    ids,
                    tasks=tasks,
                    rounds=plan.rounds,
                    seconds=plan.seconds,
                )
                _record(figures, place, contenders, tasks, outcomes)


def _record(
    figures: Figures,
    place: Place,
    contenders: Sequence[Contender],
    tasks: int,
    outcomes: dict[str, list[Round]],
) -> None:
    case = f"{contenders[0].workload.name}, {_named(tasks)}"
    for contender in contenders:
        rounds = outcomes[contender.name]
        note = failures([each.failures for each in rounds], sum(len(each.latencies) for each in rounds))
        against = (contender.against, case)
        measures = [
            ("turns per second", "turns/s", [each.per_second for each in rounds]),
            ("processor time per turn", "us", [each.cpu_each for each in rounds]),
        ]
        if tasks == 1:  # with more tasks, latency is mostly time spent in the queue
            measures.append(("turn: p50", "us", [each.p50 for each in rounds]))
            measures.append(("turn: p99", "us", [each.p99 for each in rounds]))
        for measure, unit, numbers in measures:
            figures.add(Figure(measure, place.backend, contender.name, case, unit, numbers, against, note))


def _named(tasks: int) -> str:
    return f"{tasks} task" if tasks == 1 else f"{tasks} tasks"
