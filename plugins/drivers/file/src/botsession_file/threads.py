"""The threads of a store: each call is one hop to a thread, and other threads help with a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar, cast

from aiofiles.os import wrap

from botsession import StoreError
from botsession.storage.binding import LoopBinding
from botsession_file.errors import store_error
from botsession_file.folder import Folder
from botsession_file.locks import Call
from botsession_file.workers import Batch, Workers

T = TypeVar("T")
EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

Job = Callable[[str, Sequence[EntryT], Call], list[OutcomeT]]
"""What to do with the entries of one shard; it returns the outcome of each."""

_READERS: Final = 4
_LEASERS: Final = 4
_WRITERS: Final = 16

_LEASED_AT_ONCE: Final = 32
"""In up to so many shards, one thread takes leases faster than two."""


class Threads:
    """The threads of one store, from `start` to `stop`.

    Reads, leases and writes have threads of their own, so none of them waits for something slower than itself.

    Args:
        folder: The directory of the store.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._binding = LoopBinding("the file store")
        self._pools: _Pools | None = None

    def enter(self) -> None:
        """Move to the running event loop and to this process.

        Raises:
            StoreError: The store belongs to another event loop that is open, or this one was inherited by a fork.
        """
        inherited = self._binding.is_inherited
        if self._binding.enter() and inherited:  # a fork leaves all threads behind
            self._folder.reset_locks()
            if self._pools is not None:
                self._pools = None
                self.start()

    def start(self) -> None:
        """Start the threads, unless they have been started."""
        if self._pools is None:
            self._binding.opened = self._pools = _Pools(
                Workers(_READERS, "botsession-file-read"),
                Workers(_LEASERS, "botsession-file-lease"),
                Workers(_WRITERS, "botsession-file-write"),
            )

    async def stop(self) -> None:
        """Wait for the calls in progress and stop the threads; those of a parent process are left alone."""
        inherited = self._binding.is_inherited
        if not inherited:
            self._binding.enter()
        pools, self._pools = self._pools, None
        self._binding.leave()
        if not inherited:
            for pool in pools or ():
                await self.run_alone(pool.shutdown)

    def check(self) -> None:
        """Raise a `StoreError` unless the threads have been started for this event loop."""
        self._started()
        self.enter()

    async def run_alone(self, job: Callable[[], T]) -> T:
        """Run a job in a thread of its own, before `start` or after `stop` as well."""
        workers = Workers(1, "botsession-file")
        try:
            return await self._hop(job, workers, Call())
        finally:
            workers.end()

    async def read(self, job: Callable[[], T]) -> T:
        """Run a job that changes nothing."""
        return await self._hop(job, self._started().readers, Call())

    async def write(self, job: Callable[[Call], T]) -> T:
        """Run a job that changes sessions. If its caller is cancelled, it changes nothing afterwards."""
        call = Call()
        return await self._hop(partial(job, call), self._started().writers, call)

    async def lease_many(
        self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str]
    ) -> list[OutcomeT]:
        """Run a job that changes leases, which need not be durable; see `write_many`."""
        threads = min(_LEASERS, -(-len(entries) // _LEASED_AT_ONCE))
        return await self._share(job, entries, shards, self._started().leasers, threads)

    async def write_many(
        self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str]
    ) -> list[OutcomeT]:
        """Run a job for the entries of each shard, in as many threads as help.

        Args:
            job: What to do with the entries of one shard.
            entries: The entries.
            shards: The shard of each.

        Returns:
            The outcomes, in the order of the entries.
        """
        return await self._share(job, entries, shards, self._started().writers, _WRITERS)

    async def _share(
        self,
        job: Job[EntryT, OutcomeT],
        entries: Sequence[EntryT],
        shards: Sequence[str],
        pool: Workers,
        threads: int,
    ) -> list[OutcomeT]:
        call = Call()
        if len(entries) == 1:
            return await self._hop(partial(job, shards[0], entries, call), pool, call)
        by_shard: dict[str, list[int]] = {}
        for index, shard in enumerate(shards):
            by_shard.setdefault(shard, []).append(index)
        batch = Batch(
            [partial(job, shard, [entries[index] for index in each], call) for shard, each in by_shard.items()]
        )
        for _ in range(min(threads, len(by_shard)) - 1):
            pool.start(batch.work)
        outcomes: dict[int, OutcomeT] = {}
        for each, some in zip(by_shard.values(), await self._hop(batch.finish, pool, call), strict=True):
            outcomes.update(zip(each, some, strict=True))
        return [outcomes[index] for index in range(len(entries))]

    async def _hop(self, job: Callable[[], T], pool: Workers, call: Call) -> T:
        try:
            return cast("T", await _in_thread(job, executor=pool))
        except asyncio.CancelledError:
            call.abandoned = True
            raise
        except OSError as error:
            raise store_error(error, self._folder.path) from error

    def _started(self) -> _Pools:
        if self._pools is None:
            raise StoreError("the file store is not open", remedy="Call `await store.init()` first.")
        return self._pools


class _Pools(NamedTuple):
    readers: Workers
    leasers: Workers
    writers: Workers


def _run(job: Callable[[], object]) -> object:
    return job()


_in_thread: Final = wrap(_run)
