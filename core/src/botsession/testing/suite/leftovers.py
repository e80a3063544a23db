"""Leases and sessions that have ended leave nothing behind."""

from __future__ import annotations

import asyncio

from botsession.protocol import (
    Claim,
    Step,
    SupportsCommit,
    SupportsLease,
    SupportsPurge,
)
from botsession.testing.bench import Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import (
    LONG,
    PAST,
    SHORT,
    A,
    B,
)

MANY = 60
FEW = 10
"""How many of them may not have been removed yet."""


class Leftovers(Hooks):
    """Leftovers in the backend, for suites with the hook `footprint`."""

    @scenario(SupportsLease)
    async def test_leases_of_the_dead_do_not_stay(self, bench: Bench) -> None:
        before = await self._used(bench)
        ids = [f"kit:dead{number}" for number in range(MANY)]
        for holder in (A, B):
            await bench.store.lease_many([Claim(session_id, holder, SHORT, SHORT) for session_id in ids])
        await asyncio.sleep(PAST)
        for number in range(MANY):
            await bench.store.lease_many([Claim(f"kit:alive{number}", A, LONG, LONG)])
            await bench.store.release_leases({f"kit:alive{number}": A})
        if isinstance(bench.store, SupportsPurge):
            await bench.store.purge()
        left = await self._size(bench) - before
        assert left <= FEW, f"the backend keeps {left} entries of {MANY} dead holders, each with a waiter"

    @scenario(SupportsLease, SupportsCommit)
    async def test_released_leases_and_destroyed_sessions_leave_nothing(self, bench: Bench) -> None:
        before = await self._used(bench)
        ids = [f"kit:{number}" for number in range(MANY)]
        for holder in (A, B):
            await bench.store.lease_many([Claim(session_id, holder, LONG, LONG) for session_id in ids])
        sessions = [bench.session(session_id) for session_id in ids]
        await bench.store.commit([Step.replace(session, None, A) for session in sessions])
        await bench.store.lease_many([Claim(session_id, B, LONG, LONG) for session_id in ids])
        await bench.store.commit([Step.remove(session_id, holder=B) for session_id in ids[::2]])
        for session_id in ids[1::2]:
            await bench.store.destroy(session_id)
        await bench.store.release_leases(dict.fromkeys(ids, B))
        if isinstance(bench.store, SupportsPurge):
            await bench.store.purge()
        left = await self._size(bench) - before
        assert left <= FEW, f"the backend keeps {left} entries of {MANY} destroyed sessions"

    async def _used(self, bench: Bench) -> int:
        """Return how many entries the backend keeps after the store was used and is empty again."""
        await bench.write()
        await bench.store.lease_many([Claim("kit:1", A, LONG, LONG)])
        await bench.store.release_leases({"kit:1": A})
        await bench.store.destroy("kit:1")
        return await self._size(bench)

    async def _size(self, bench: Bench) -> int:
        return len(await self.footprint(bench.store))
