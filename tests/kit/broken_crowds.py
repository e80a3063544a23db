"""Stores that fail under concurrency."""

from __future__ import annotations

import asyncio
import dataclasses

from kit.reference import Reference
from kit.suites import FileSuite, caught_by

from botsession import SessionConflictError
from botsession_file import FileSessionStore


@caught_by("test_concurrent_writes_of_different_sessions")
class KeepsTheAnswerInTheStore(Reference):
    async def read(self, session_id):
        self.answer = self.load(session_id)
        await asyncio.sleep(0)
        return self.answer


@caught_by("test_a_read_during_writes_is_never_torn")
class WritesInTwoParts(Reference):
    async def write(self, session_id, session):
        old = self.load(session_id)
        self.stamp(session)
        if old is not None:
            state = {**session.state, "last": old.state.get("last")}
            self.put(dataclasses.replace(session, state=state))
            await asyncio.sleep(0)
        self.put(session)


@caught_by("test_no_turn_is_lost")
class LosesEveryTenthWrite(Reference):
    count = 0

    def put(self, session):
        self.count += 1
        if self.count % 10:
            super().put(session)


class TouchesInTwoSteps(Reference):
    steps = 1

    async def touch(self, session_id, expires_at):
        self.check(session_id)
        session = self.load(session_id)
        for _ in range(self.steps):
            await asyncio.sleep(0)
        if session is None:
            return False
        session.expires_at, session.last_activity = expires_at, self.lifetime.now()
        self.put(session)
        return True


@caught_by("test_touch_during_destroy_brings_nothing_back", "test_touch_during_write_undoes_nothing")
class TouchesSlowly(TouchesInTwoSteps):
    steps = 3


@caught_by("test_a_cancelled_call_leaves_no_damage")
class LeavesItsLockHeld(Reference):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lock = asyncio.Lock()

    async def write(self, session_id, session):
        await self.lock.acquire()
        await super().write(session_id, session)
        self.lock.release()


@caught_by("test_a_cancelled_call_leaves_no_damage")
class IsHalfWrittenWhenCancelled(Reference):
    async def write(self, session_id, session):
        self.entries.pop(session_id, None)
        await super().write(session_id, session)


@caught_by("test_a_cancelled_call_leaves_no_damage")
class WritesAfterItWasCancelled(Reference):
    async def write(self, session_id, session):
        copy = dataclasses.replace(session, state=dict(session.state))
        try:
            await super().write(session_id, session)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(0.001, self.save, copy)
            raise


@caught_by("test_two_stores_see_the_same_sessions")
class ReadsFromItsCache(Reference):
    async def read(self, session_id):
        self.cache = getattr(self, "cache", {})
        if session_id not in self.cache:
            self.cache[session_id] = await super().read(session_id)
        return self.cache[session_id]


@caught_by("test_two_stores_lose_no_increment")
class LocksInItself(Reference):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lock = asyncio.Lock()

    async def replace(self, session_id, session, *, expected):
        async with self.lock:
            if not self.matches(session_id, expected):
                raise SessionConflictError(session_id)
            await asyncio.sleep(0)
            self.save(session)


@caught_by("test_another_process_sees_the_same_sessions", suite=FileSuite)
class IsAloneInItsProcess(FileSessionStore):
    def __init__(self, dirname, **options):
        import os

        super().__init__(f"{dirname}-{os.getpid()}", **options)


@caught_by("test_several_processes_lose_no_increment", suite=FileSuite)
class ComparesWithoutALock(FileSessionStore):
    async def replace(self, session_id, session, *, expected):
        current = await self.read(session_id)
        if (current and current.version) != expected:
            raise SessionConflictError(session_id)
        await self.write(session_id, session)


@caught_by("test_a_cancelled_call_leaves_no_damage")
class TellsTheVersionAfterwards(Reference):
    async def write(self, session_id, session):
        copy = dataclasses.replace(session)
        await super().write(session_id, copy)
        await self.pause()
        session.version, session.expires_at = copy.version, copy.expires_at
        session.created_at, session.last_activity = copy.created_at, copy.last_activity
