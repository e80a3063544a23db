"""How threads share the work in many subdirectories."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from botsession_file.batch import ShardedBatch
from botsession_file.locks import Call

ENTRIES = list(range(40))
SHARDS = [f"{number % 7:02x}" for number in ENTRIES]


def test_each_subdirectory_is_one_job_and_outcomes_keep_their_positions() -> None:
    jobs: list[tuple[str, Sequence[int]]] = []

    def job(shard: str, entries: Sequence[int], call: Call) -> list[int]:
        jobs.append((shard, entries))
        assert call is batch.call
        return [-entry for entry in entries]

    batch = ShardedBatch(job, ENTRIES, SHARDS)
    assert len(batch) == 7
    with ThreadPoolExecutor(3) as pool:
        helpers = [pool.submit(batch.work) for _ in range(3)]
        assert batch.finish(helpers) == [-entry for entry in ENTRIES]
    assert sorted(jobs) == [(f"{shard:02x}", ENTRIES[shard::7]) for shard in range(7)]


def test_nobody_waits_for_threads_that_have_not_begun() -> None:
    """All threads of the pool may do the same for others, and wait as well."""
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(is_over.wait, 30)
        batch = ShardedBatch(lambda _shard, entries, _call: list(entries), ENTRIES, SHARDS)
        assert batch.finish([pool.submit(batch.work)]) == ENTRIES
        assert not busy.done()
        is_over.set()


@pytest.mark.parametrize("where", ["here", "in a thread that helps"])
def test_an_error_is_raised_when_all_threads_have_come_back(where: str) -> None:
    here = threading.current_thread()
    both, under_way = threading.Barrier(2), 0

    def job(shard: str, entries: Sequence[int], call: Call) -> list[int]:
        nonlocal under_way
        if shard in SHARDS[:2]:
            both.wait(30)
        if (threading.current_thread() is here) == (where == "here"):
            raise ValueError(shard)
        under_way += 1
        if shard in SHARDS[:2]:
            threading.Event().wait(0.05)
        under_way -= 1
        return list(entries)

    batch = ShardedBatch(job, ENTRIES, SHARDS)
    with ThreadPoolExecutor(1) as pool:
        helper = pool.submit(batch.work)
        with pytest.raises(ValueError):
            batch.finish([helper])
        assert helper.done() and under_way == 0
