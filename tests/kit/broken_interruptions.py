"""Stores whose calls hang or end incorrectly when they are cancelled or the store is closed."""

from __future__ import annotations

import asyncio
import contextlib

from kit.reference import Reference
from kit.suites import caught_by

from botsession import StoreError, StoreUnavailableError


@caught_by("test_a_cancelled_call_ends_as_cancelled")
class SwallowsItsCancellation(Reference):
    async def touch(self, session_id, expires_at):
        with contextlib.suppress(asyncio.CancelledError):
            return await super().touch(session_id, expires_at)
        return False


@caught_by("test_a_cancelled_call_ends_as_cancelled")
class FinishesInPeace(Reference):
    async def release_leases(self, holders):
        running = asyncio.ensure_future(super().release_leases(holders))
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(running)


@caught_by("test_a_cancelled_call_ends_as_cancelled")
class TakesACancellationForAnOutage(Reference):
    async def read_many(self, session_ids):
        try:
            return await super().read_many(session_ids)
        except BaseException as error:
            raise StoreUnavailableError("the reference does not answer") from error


@caught_by("test_a_cancelled_call_ends_as_cancelled")
class OpensAlthoughItIsCancelled(Reference):
    async def init(self):
        with contextlib.suppress(asyncio.CancelledError):
            await super().init()
        return self


@caught_by("test_calls_in_progress_at_close_end")
class WaitsForEverOnceItIsClosed(Reference):
    async def read(self, session_id):
        self.check(session_id)
        await asyncio.sleep(0)
        if not self.open:
            await asyncio.get_running_loop().create_future()
        return self.load(session_id)


@caught_by("test_calls_in_progress_at_close_end")
class StumblesOverClose(Reference):
    async def pause(self):
        await super().pause()
        if not self.open:
            raise RuntimeError("Event loop is closed")


@caught_by("test_calls_in_progress_at_close_end")
class CancelsCallsAtClose(Reference):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.running = set()

    async def ping(self):
        self.running.add(asyncio.current_task())
        await super().ping()
        self.running.discard(asyncio.current_task())

    async def close(self):
        await super().close()
        for task in self.running:
            task.cancel()


@caught_by("test_calls_in_progress_at_close_end")
class WaitsInCloseForItself(Reference):
    """Deadlocks in `close`: a call waits for a lock that it holds itself."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lock = asyncio.Lock()

    async def scan(self, prefix="", *, after=None, limit=None):
        async with self.lock:
            await super().scan(prefix, after=after, limit=limit)
            async with self.lock if not self.open else contextlib.nullcontext():
                return await super().scan(prefix, after=after, limit=limit)


@caught_by("test_close_leaves_nothing_half_done")
class WritesAfterItWasClosed(Reference):
    async def write(self, session_id, session):
        await super().write(session_id, session)
        if not self.open:
            asyncio.get_running_loop().call_later(0.001, self.put, session)
            raise StoreError("the reference was closed")


@caught_by("test_close_leaves_nothing_half_done")
class SaysThatItWasDoneOnceItIsClosed(Reference):
    def save(self, session):
        if self.open:
            super().save(session)


@caught_by("test_close_leaves_nothing_half_done")
class RemovesTheOldFirst(Reference):
    async def write(self, session_id, session):
        self.check()
        self.entries.pop(session_id, None)
        await self.pause()
        if not self.open:
            raise StoreError("the reference was closed")
        await super().write(session_id, session)
