"""Nothing is left behind: what has ended makes room in the end."""

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
"""So many of them may wait for their turn to be removed."""


class Leftovers(Hooks):
    """What the hook `footprint` makes possible to see."""

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
        assert left <= FEW, f"of {MANY} holders that died, each with one who waited, the backend keeps {left} entries"

    @scenario(SupportsLease, SupportsCommit)
    async def test_what_is_given_up_or_destroyed_leaves_nothing(self, bench: Bench) -> None:
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
        assert left <= FEW, f"of {MANY} sessions that were destroyed the backend keeps {left} entries"

    async def _used(self, bench: Bench) -> int:
        """Returns how much lies there when the store has been used, and nothing is stored."""
        await bench.write()
        await bench.store.lease_many([Claim("kit:1", A, LONG, LONG)])
        await bench.store.release_leases({"kit:1": A})
        await bench.store.destroy("kit:1")
        return await self._size(bench)

    async def _size(self, bench: Bench) -> int:
        return len(await self.footprint(bench.store))
