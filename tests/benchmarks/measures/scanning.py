"""A full scan: time per session and peak memory."""

from __future__ import annotations

import asyncio
import time
import tracemalloc

from benchmarks.contender import opened
from benchmarks.figures import Figure, Figures
from benchmarks.ours import Ours, ours
from benchmarks.place import prepared
from benchmarks.plan import Plan
from benchmarks.workload import SMALL
from botsession import (
    Session,
    Step,
    SupportsCommit,
    SupportsScan,
)

_BATCH = 500


def measure(plan: Plan, figures: Figures) -> None:
    """Measure scans of two sizes, to show that they are linear."""
    for backend in plan.backends:
        asyncio.run(_measure(figures, backend, (10_000, 100_000) if plan.full else (1_000, 5_000)))


async def _measure(figures: Figures, backend: str, sizes: tuple[int, ...]) -> None:
    with prepared(backend) as place:
        async with opened(ours(place, SMALL)[-1:]) as [contender]:
            assert isinstance(contender, Ours)
            store = contender.sessions.store
            assert isinstance(store, SupportsCommit)
            assert isinstance(store, SupportsScan)
            stored = 0
            base = f"{sizes[0]:,} sessions"
            for size in sizes:
                while stored < size:
                    ids = [f"bench:{number}" for number in range(stored, stored + _BATCH)]
                    entries = [Step.replace(Session(each, SMALL.initial()), None) for each in ids]
                    assert not any(await store.commit(entries))
                    stored += _BATCH
                begin = time.perf_counter()
                found = await _scan(store)
                seconds = time.perf_counter() - begin
                assert found >= size
                tracemalloc.start()
                await _scan(store)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                case = f"{size:,} sessions"
                name, against = contender.name, (contender.name, base)
                figures.add(Figure("scan", backend, name, case, "us/session", [seconds / size * 1e6], against))
                figures.add(Figure("scan: peak memory", backend, name, case, "KB", [peak / 1024], against))


async def _scan(store: SupportsScan) -> int:
    found, after = 0, None
    while True:
        page = await store.scan(after=after)
        found += len(page.sessions)
        after = page.next
        if after is None:
            return found
