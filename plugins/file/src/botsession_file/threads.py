"""The threads in which a store works: one hop for each call, in as many threads as help for many entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, cast

from aiofiles.os import wrap

from botsession import StoreError
from botsession_file.failures import reported
from botsession_file.folder import Call

T = TypeVar("T")
EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

_READERS: Final = 4
_LEASERS: Final = 4
_WRITERS: Final = 16


class Threads:
    """The threads of one store, between `start` and `stop`.

    Reading, leasing and writing have threads of their own, so that none waits behind what takes longer than itself.

    Args:
        path: The directory of the store, for its errors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pools: _Pools | None = None

    def start(self) -> None:
        """Begins; no harm where it has begun."""
        if self._pools is None:
            self._pools = _Pools(
                ThreadPoolExecutor(_READERS, "botsession-file-read"),
                ThreadPoolExecutor(_LEASERS, "botsession-file-lease"),
                ThreadPoolExecutor(_WRITERS, "botsession-file-write"),
            )

    async def stop(self) -> None:
        """Lets the jobs that are under way finish."""
        pools, self._pools = self._pools, None
        for pool in pools or ():
            await wrap(pool.shutdown)()

    def check_started(self) -> None:
        """Raises `StoreError` before `start` and after `stop`."""
        self._started()

    async def preparing(self, job: Callable[[], T]) -> T:
        """Runs a job that needs no `start`."""
        return await self._hop(job, None)

    async def reading(self, job: Callable[[], T]) -> T:
        """Runs a job that changes nothing."""
        return await self._hop(job, self._started().readers)

    async def leasing(self, job: Callable[[Call], T]) -> T:
        """Runs a job that changes leases only, which need not be durable."""
        return await self._calling(job, self._started().leasers)

    async def changing(self, job: Callable[[Call], T]) -> T:
        """Runs a job that makes changes; one whose caller was cancelled makes none, or made them before any later one."""
        return await self._calling(job, self._started().writers)

    async def sharing(
        self,
        job: Callable[[Sequence[EntryT], Call], list[OutcomeT]],
        entries: Sequence[EntryT],
        shard: Callable[[EntryT], str],
        *,
        leases: bool = False,
    ) -> list[OutcomeT]:
        """Runs a job for many entries, each thread doing a share of them.

        Args:
            job: Called with some of the entries; returns an outcome for each.
            entries: What to do.
            shard: Tells the subdirectory of an entry; those of one stay next to each other.
            leases: The job changes leases only, so that fewer threads are best.

        Returns:
            The outcomes, in the order of the entries.
        """
        run, most, least = (self.leasing, _LEASERS, 32) if leases else (self.changing, _WRITERS, 1)
        if len(entries) == 1:
            return await run(partial(job, entries))
        shares = _shares([shard(entry) for entry in entries], most, least)
        results = await asyncio.gather(*(run(partial(job, [entries[index] for index in share])) for share in shares))
        outcomes = dict(zip(chain.from_iterable(shares), chain.from_iterable(results), strict=True))
        return [outcomes[index] for index in range(len(entries))]

    def _started(self) -> _Pools:
        if self._pools is None:
            raise StoreError("the file store is not open; call `await store.init()` first")
        return self._pools

    async def _calling(self, job: Callable[[Call], T], pool: ThreadPoolExecutor) -> T:
        call = Call()
        try:
            return await self._hop(partial(job, call), pool)
        except asyncio.CancelledError:
            call.abandoned = True
            raise

    async def _hop(self, job: Callable[[], T], pool: ThreadPoolExecutor | None) -> T:
        try:
            return cast("T", await _in_thread(job, executor=pool))
        except OSError as error:
            raise reported(error, self._path) from error


class _Pools(NamedTuple):
    readers: ThreadPoolExecutor
    leasers: ThreadPoolExecutor
    writers: ThreadPoolExecutor


def _run(job: Callable[[], object]) -> object:
    return job()


_in_thread: Final = wrap(_run)


def _shares(shards: Sequence[str], most: int, least: int) -> list[list[int]]:
    """Splits entries, by index, into one share per thread: at most so many, of at least so many subdirectories."""
    order = sorted(range(len(shards)), key=lambda index: shards[index])
    groups = [list(group) for _, group in groupby(order, lambda index: shards[index])]
    count = min(most, -(-len(groups) // least))
    return [list(chain.from_iterable(groups[first::count])) for first in range(count)]
