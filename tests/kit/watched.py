"""A store that records its calls, and helpers for tests that use it."""

from __future__ import annotations

import asyncio

from botsession import Claim, Held
from botsession_memory import MemorySessionStore

ID = "telegram:42"
LONG = 600.0
"""Longer than any test takes: a lease that is not released is held until the end of the test."""


class Watched(MemorySessionStore):
    """A store that records its calls, and can make them fail or hold them up before or after they are applied."""

    in_process = False  # its calls suspend, so turns hold leases

    def __init__(self):
        super().__init__()
        self.calls = []
        self.failing = {}
        self.before = {}
        self.after = {}
        self.renewals = []

    async def _call(self, name, method, *arguments):
        self.calls.append(name)
        await asyncio.sleep(0)
        if name in self.failing:
            raise self.failing[name]
        await self._gate(self.before, name)
        outcome = await method(*arguments)
        await self._gate(self.after, name)
        return outcome

    async def _gate(self, gates, name):
        if name in gates:
            reached, go = gates[name]
            reached.set()
            await go.wait()

    def hold_up(self, name, when):
        """Hold up the calls of a method; return one event set when a call arrives, and one that lets it continue."""
        getattr(self, when)[name] = gates = (asyncio.Event(), asyncio.Event())
        return gates

    async def lease_many(self, claims):
        return await self._call("lease_many", super().lease_many, claims)

    async def renew_leases(self, holders, ttl):
        renewed = await self._call("renew_leases", super().renew_leases, holders, ttl)
        self.renewals += renewed
        return renewed

    async def release_leases(self, holders):
        await self._call("release_leases", super().release_leases, holders)

    async def commit(self, steps):
        return await self._call("commit", super().commit, steps)

    async def touch(self, session_id, expires_at):
        return await self._call("touch", super().touch, session_id, expires_at)

    async def destroy(self, session_id):
        await self._call("destroy", super().destroy, session_id)

    async def is_held(self, session_id=ID):
        [outcome] = await MemorySessionStore.lease_many(self, [Claim(session_id, "probe", LONG, LONG)])
        await MemorySessionStore.release_leases(self, {session_id: "probe"})
        return isinstance(outcome, Held)

    async def hold(self, holder="elsewhere", session_id=ID):
        [outcome] = await MemorySessionStore.lease_many(self, [Claim(session_id, holder, LONG, LONG)])
        assert not isinstance(outcome, Held)
        return outcome

    async def give_up(self, holder="elsewhere", session_id=ID):
        await MemorySessionStore.release_leases(self, {session_id: holder})


def with_store(scenario, store_type=Watched):
    async def run():
        async with asyncio.timeout(60):
            return await scenario(await store_type().init())

    return asyncio.run(run())


async def until(condition):
    """Wait until a condition becomes true."""
    while not condition():  # noqa: ASYNC110 - no event announces it
        await asyncio.sleep(0.005)


async def steps():
    """Let every task run as far as it can without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


async def count(sessions, session_id=ID):
    async with sessions.turn(session_id) as session:
        session.state["count"] = session.state.get("count", 0) + 1


def text_of(store, session_id=ID):
    """Return the text of a session in a memory store."""
    return store._records[session_id][0]


def set_text(store, text, session_id=ID):
    """Replace the text of a session in a memory store, and return it."""
    store._records[session_id] = text, None
    return text
