"""The threads in which a store works: one hop for each call, and others that help where it has many entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar, cast

from aiofiles.os import wrap

from botsession import StoreError
from botsession.storage.binding import LoopBinding
from botsession_file.failures import reported
from botsession_file.folder import Folder
from botsession_file.locking import Call
from botsession_file.shares import EntryT, Job, OutcomeT, Shares

T = TypeVar("T")

_READERS: Final = 4
_LEASERS: Final = 4
_WRITERS: Final = 16

_LEASED_AT_ONCE: Final = 32
"""In so many subdirectories one thread takes leases sooner than two would."""


class Threads:
    """The threads of one store, between `start` and `stop`.

    Reading, leasing and writing have threads of their own, so that none waits behind what takes longer than itself.

    Args:
        folder: The directory of the store.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._binding = LoopBinding("the file store")
        self._pools: _Pools | None = None

    def enter(self) -> None:
        """Comes to the running event loop, and to this process.

        Raises:
            StoreError: The store belongs to another event loop that is open, or this one was inherited by a fork.
        """
        inherited = self._binding.is_inherited
        if self._binding.enter() and inherited:  # a fork leaves all threads behind
            self._folder.forget_threads()
            if self._pools is not None:
                self._pools = None
                self.start()

    def start(self) -> None:
        """Begins; no harm where it has begun."""
        if self._pools is None:
            self._binding.opened = self._pools = _Pools(
                ThreadPoolExecutor(_READERS, "botsession-file-read"),
                ThreadPoolExecutor(_LEASERS, "botsession-file-lease"),
                ThreadPoolExecutor(_WRITERS, "botsession-file-write"),
            )

    async def stop(self) -> None:
        """Lets the jobs that are under way finish; those of the parent process are not ours to wait for."""
        inherited = self._binding.is_inherited
        if not inherited:
            self._binding.enter()
        pools, self._pools = self._pools, None
        self._binding.leave()
        if not inherited:
            for pool in pools or ():
                await wrap(pool.shutdown)()

    def check_started(self) -> None:
        """Raises `StoreError` before `start` and after `stop`."""
        self._started()

    async def preparing(self, job: Callable[[], T]) -> T:
        """Runs a job that needs no `start`."""
        return await self._hop(job, None, Call())

    async def reading(self, job: Callable[[], T]) -> T:
        """Runs a job that changes nothing."""
        return await self._hop(job, self._started().readers, Call())

    async def leasing(self, job: Callable[[Call], T]) -> T:
        """Runs a job that changes leases only, which need not be durable."""
        call = Call()
        return await self._hop(partial(job, call), self._started().leasers, call)

    async def changing(self, job: Callable[[Call], T]) -> T:
        """Runs a job that makes changes; one whose caller was cancelled makes none, or made them before any later one."""
        call = Call()
        return await self._hop(partial(job, call), self._started().writers, call)

    async def leasing_many(
        self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str]
    ) -> list[OutcomeT]:
        """Does with leases what `changing_many` does with sessions."""
        if len(entries) == 1:
            return await self.leasing(partial(job, shards[0], entries))
        return await self._sharing(Shares(job, entries, shards), self._started().leasers, _LEASERS, _LEASED_AT_ONCE)

    async def changing_many(
        self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str]
    ) -> list[OutcomeT]:
        """Makes many changes, in as many threads as help.

        Args:
            job: Called with a subdirectory and the entries that lie there; returns an outcome for each.
            entries: What to do.
            shards: The subdirectory of each.

        Returns:
            The outcomes, in the order of the entries.
        """
        if len(entries) == 1:
            return await self.changing(partial(job, shards[0], entries))
        return await self._sharing(Shares(job, entries, shards), self._started().writers, _WRITERS, 1)

    async def _sharing(
        self, shares: Shares[EntryT, OutcomeT], pool: ThreadPoolExecutor, most: int, least: int
    ) -> list[OutcomeT]:
        threads = min(most, -(-len(shares) // least))
        helpers = [pool.submit(shares.work) for _ in range(threads - 1)]
        return await self._hop(partial(shares.finish, helpers), pool, shares.call)

    async def _hop(self, job: Callable[[], T], pool: ThreadPoolExecutor | None, call: Call) -> T:
        try:
            return cast("T", await _in_thread(job, executor=pool))
        except asyncio.CancelledError:
            call.abandoned = True
            raise
        except OSError as error:
            raise reported(error, self._folder.path) from error

    def _started(self) -> _Pools:
        if self._pools is None:
            raise StoreError("the file store is not open; call `await store.init()` first")
        self.enter()
        return self._pools


class _Pools(NamedTuple):
    readers: ThreadPoolExecutor
    leasers: ThreadPoolExecutor
    writers: ThreadPoolExecutor


def _run(job: Callable[[], object]) -> object:
    return job()


_in_thread: Final = wrap(_run)
