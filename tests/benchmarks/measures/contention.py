"""Contention: turns per second and lost updates when many tasks with awaiting handlers use one id."""

from __future__ import annotations

import asyncio
import time

from benchmarks.bare import bare_clients
from benchmarks.contender import Contender, opened
from benchmarks.figures import Figure, Figures
from benchmarks.ours import ours
from benchmarks.peers import peers
from benchmarks.place import prepared
from benchmarks.plan import Plan
from benchmarks.workload import SMALL

TASKS = 64


def measure(plan: Plan, figures: Figures) -> None:
    """Measure concurrent turns of one session."""
    for backend in plan.backends:
        asyncio.run(_measure(plan, figures, backend))


async def _measure(plan: Plan, figures: Figures, backend: str) -> None:
    each = 5 if plan.full else 2
    case = f"{TASKS} tasks, {TASKS * each} turns"
    with prepared(backend) as place:
        others = peers(place, SMALL) if plan.peers else ()
        async with opened([*ours(place, SMALL), *bare_clients(place, SMALL), *others]) as contenders:
            speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            losses: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            failed: dict[str, int] = dict.fromkeys(speeds, 0)
            for number in range(5 if plan.full else 1):
                for contender in contenders:
                    done, lost, seconds = await _crowd(contender, f"bench:{number}", each)
                    speeds[contender.name].append(done / seconds)
                    losses[contender.name].append(lost)
                    failed[contender.name] += TASKS * each - done
            for contender in contenders:
                name = contender.name
                note = f"{failed[name]} turns failed" if failed[name] else ""
                figures.add(
                    Figure(
                        "one id: turns per second",
                        backend,
                        name,
                        case,
                        "turns/s",
                        speeds[name],
                        (contender.against, case),
                        note,
                    )
                )
                figures.add(Figure("one id: lost updates", backend, name, case, "turns", losses[name], None, note))


async def _crowd(contender: Contender, session_id: str, each: int) -> tuple[int, int, float]:
    """Return the number of successful turns, how many of their updates were lost, and the seconds taken."""
    done = 0

    async def work() -> None:
        nonlocal done
        for _ in range(each):
            try:
                await contender.turn(session_id, pause=True)
            except Exception:
                continue
            done += 1

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(TASKS)))
    seconds = time.perf_counter() - begin
    state = await contender.read(session_id)
    return done, done - (0 if state is None else state["count"]), seconds
