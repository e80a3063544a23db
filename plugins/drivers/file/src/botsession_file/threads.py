"""The threads of a store: each call is one hop to a thread, and other threads help with a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, Literal, TypeVar, cast

from aiofiles.os import wrap

from botsession import StoreError
from botsession.storage.binding import LoopBinding
from botsession_file.errors import store_error
from botsession_file.folder import Folder
from botsession_file.locks import Call
from botsession_file.names import place
from botsession_file.workers import Batch, Workers

T = TypeVar("T")
EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

Job = Callable[[str, Sequence[EntryT], Call], list[OutcomeT]]
"""What to do with the entries of one shard; it returns the outcome of each."""

Kind = Literal["read", "lease", "write"]

_COUNTS: Final[dict[Kind, int]] = {"read": 4, "lease": 4, "write": 16}


class Threads:
    """The threads of one store, from `start` to `stop`.

    Reads, leases and writes have threads of their own, so none of them waits for something slower than itself. Jobs that are
    cancelled before they begin do not begin.

    Args:
        folder: The directory of the store.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._binding = LoopBinding("the file store")
        self._pools: dict[Kind, Workers] | None = None

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
            pools = {kind: Workers(count, f"botsession-file-{kind}") for kind, count in _COUNTS.items()}
            self._binding.opened = self._pools = pools

    async def stop(self) -> None:
        """Wait for the calls in progress and stop the threads; those of a parent process are left alone."""
        inherited = self._binding.is_inherited
        if not inherited:
            self._binding.enter()
        pools, self._pools = self._pools, None
        self._binding.leave()
        if not inherited:
            for pool in (pools or {}).values():
                await self.run_alone(pool.shutdown)

    def check(self) -> None:
        """Raise a `StoreError` unless the threads have been started for this event loop."""
        self._pool("read")
        self.enter()

    async def run_alone(self, job: Callable[[], T]) -> T:
        """Run a job in a thread of its own, before `start` or after `stop` as well."""
        workers = Workers(1, "botsession-file")
        try:
            return await self._hop(job, workers, Call())
        finally:
            workers.end()

    async def run(self, kind: Kind, job: Callable[[Call], T]) -> T:
        """Run a job in one of the threads of a kind. If its caller is cancelled, it changes nothing afterwards."""
        call = Call()
        return await self._hop(partial(job, call), self._pool(kind), call)

    async def run_many(
        self, kind: Kind, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], session_ids: Iterable[str]
    ) -> list[OutcomeT]:
        """Run a job for the entries of each shard.

        Args:
            kind: Writes share all threads, so that their syncs are concurrent. Leases do not wait for a disk: one thread
                is faster.
            job: What to do with the entries of one shard.
            entries: The entries.
            session_ids: The session of each.

        Returns:
            The outcomes, in the order of the entries.
        """
        call, pool = Call(), self._pool(kind)
        shards = [place(session_id).shard for session_id in session_ids]
        if len(entries) == 1:
            return await self._hop(partial(job, shards[0], entries, call), pool, call)
        by_shard: dict[str, list[int]] = {}
        for index, shard in enumerate(shards):
            by_shard.setdefault(shard, []).append(index)
        batch = Batch(
            [partial(job, shard, [entries[index] for index in each], call) for shard, each in by_shard.items()]
        )
        for _ in range(min(_COUNTS[kind], len(by_shard)) - 1 if kind == "write" else 0):
            pool.start(batch.work)
        found = await self._hop(batch.finish, pool, call)
        outcomes = dict(zip(chain(*by_shard.values()), chain(*found), strict=True))
        return [outcomes[index] for index in range(len(entries))]

    async def _hop(self, job: Callable[[], T], pool: Workers, call: Call) -> T:
        try:
            return cast("T", await _in_thread(job, executor=pool))
        except asyncio.CancelledError:
            call.abandoned = True
            raise
        except OSError as error:
            raise store_error(error, self._folder.path) from error

    def _pool(self, kind: Kind) -> Workers:
        if self._pools is None:
            raise StoreError("the file store is not open", remedy="Call `await store.init()` first.")
        return self._pools[kind]


def _run(job: Callable[[], object]) -> object:
    return job()


_in_thread: Final = wrap(_run)
