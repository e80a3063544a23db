"""Threads that share the work on many subdirectories."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import get_args

import pytest

from botsession_file.folder import Folder
from botsession_file.locks import Call
from botsession_file.names import place
from botsession_file.threads import Kind, Threads
from botsession_file.workers import Batch, Workers

ENTRIES = list(range(40))
IDS = [
    next(each for each in map(f"batch:{number}:{{}}".format, count()) if place(each).shard == f"{number % 7:02x}")
    for number in ENTRIES
]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_subdirectory_is_one_job_and_outcomes_keep_their_positions(kind: Kind, tmp_path: Path) -> None:
    jobs: list[tuple[str, Sequence[int]]] = []
    calls: list[Call] = []

    def job(shard: str, entries: Sequence[int], call: Call) -> list[int]:
        jobs.append((shard, entries))
        calls.append(call)
        return [-entry for entry in entries]

    async def main() -> None:
        threads = Threads(Folder(tmp_path))
        threads.enter()
        threads.start()
        assert await threads.run_many(kind, job, ENTRIES, IDS) == [-entry for entry in ENTRIES]
        assert sorted(jobs) == [(f"{shard:02x}", ENTRIES[shard::7]) for shard in range(7)]
        assert all(call is calls[0] for call in calls)
        await threads.stop()

    asyncio.run(main())


def test_nobody_waits_for_threads_that_have_not_begun() -> None:
    """Every thread of the pool may be busy with another batch, and waiting too."""
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(is_over.wait, 30)
        batch = Batch([partial(abs, -entry) for entry in ENTRIES])
        helper = pool.submit(batch.work)
        assert batch.finish() == ENTRIES
        assert not busy.done() and not helper.done()
        is_over.set()


@pytest.mark.parametrize("where", ["here", "in a thread that helps"])
def test_an_error_is_raised_when_all_threads_have_come_back(where: str) -> None:
    here = threading.current_thread()
    both, under_way = threading.Barrier(2), 0

    def job(number: int) -> int:
        nonlocal under_way
        if number < 2:
            both.wait(30)
        if (threading.current_thread() is here) == (where == "here"):
            raise ValueError(number)
        under_way += 1
        if number < 2:
            threading.Event().wait(0.05)
        under_way -= 1
        return number

    batch = Batch([partial(job, number) for number in range(7)])
    with ThreadPoolExecutor(1) as pool:
        helper = pool.submit(batch.work)
        with pytest.raises(ValueError):
            batch.finish()
        assert under_way == 0
        helper.result(5)


def test_workers_answer_in_the_event_loop_and_end() -> None:
    def fail() -> None:
        raise ValueError("failed")

    async def main() -> None:
        workers = Workers(2, "test-workers")
        told = await asyncio.gather(*(workers.submit(threading.current_thread) for _ in range(20)))
        assert {thread.name for thread in told} <= {"test-workers-0", "test-workers-1"}
        with pytest.raises(ValueError, match="failed"):
            await workers.submit(fail)
        done: list[int] = []
        for number in range(20):
            workers.submit(done.append, number)
        await asyncio.to_thread(workers.shutdown)
        assert sorted(done) == list(range(20))
        assert not any(thread.is_alive() for thread in told)

    asyncio.run(main())


def test_a_call_that_was_cancelled_before_it_began_does_not_begin() -> None:
    async def main() -> None:
        workers, may_go_on = Workers(1, "test-workers"), threading.Event()
        done: list[str] = []
        first = workers.submit(may_go_on.wait, 30)
        second = workers.submit(done.append, "second")
        third = workers.submit(done.append, "third")
        second.cancel()
        may_go_on.set()
        await asyncio.gather(first, third)
        assert done == ["third"]
        await asyncio.to_thread(workers.shutdown)

    asyncio.run(main())


def test_workers_outlive_an_event_loop_that_was_closed() -> None:
    workers, may_go_on = Workers(1, "test-workers"), threading.Event()

    async def leave() -> None:
        workers.submit(may_go_on.wait, 30)

    async def come() -> bool:
        return await workers.submit(may_go_on.is_set)

    asyncio.run(leave())
    may_go_on.set()
    assert asyncio.run(come())
    workers.shutdown()
