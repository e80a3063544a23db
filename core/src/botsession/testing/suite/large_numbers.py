"""Large batches work like small ones, and concurrent batches do not block each other."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from botsession.errors import SessionConflictError
from botsession.lifetime import new_version
from botsession.protocol import (
    Claim,
    Held,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsLease,
    SupportsPurge,
    SupportsScan,
)
from botsession.session import Session
from botsession.testing.bench import AnyStore, Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import LONG, A, B

WAITING = 150
"""How many of them get a waiter: some backends change queues one by one."""

ROUNDS = 3
IDS = [f"kit:{number}" for number in range(12)]


def batches(
    bench: Bench, store: AnyStore, sessions: Sequence[StoredSession]
) -> dict[str, Callable[[], Coroutine[Any, Any, Sequence[object] | None]]]:
    """Return the calls that send a batch of these sessions, whose leases A holds, by name."""
    ids = [session.id for session in sessions]
    holder = A if hasattr(store, "lease_many") else None
    each: dict[str, Callable[[], Coroutine[Any, Any, Sequence[object] | None]]] = {
        "read_many": lambda: store.read_many(ids),
        "commit": lambda: store.commit(
            [Step.replace(bench.session(session.id), session.version, holder) for session in sessions]
        ),
        "commit of removals": lambda: store.commit(
            [Step.remove(session.id, session.version, holder) for session in sessions]
        ),
        "commit of restorations": lambda: store.commit(
            [Step.restore(dataclasses.replace(session, version=new_version()), session) for session in sessions]
        ),
        "lease_many": lambda: store.lease_many([Claim(session_id, B, LONG, LONG) for session_id in ids]),
        "renew_leases": lambda: store.renew_leases(dict.fromkeys(ids, A), LONG),
        "release_leases": lambda: store.release_leases(dict.fromkeys(ids, A)),
    }
    return {name: send for name, send in each.items() if hasattr(store, name.partition(" ")[0])}


def differing(found: Sequence[object], wanted: Sequence[object]) -> list[int]:
    """Return the first indexes at which two lists differ. Pytest would compare a thousand sessions letter by letter."""
    assert len(found) == len(wanted), f"{len(found)} outcomes instead of {len(wanted)}"
    return [number for number, each in enumerate(found) if each != wanted[number]][:3]


class LargeNumbers(Hooks):
    """Large and concurrent batches."""

    @scenario(SupportsCommit)
    async def test_a_thousand_sessions_are_handled_at_once(self, bench: Bench) -> None:
        ids = [f"kit:{number}" for number in range(self.large)]
        sessions = [bench.session(session_id, {"of": session_id}) for session_id in ids]
        nothing = [None] * self.large
        replaced = await bench.store.commit([Step.replace(session, None) for session in sessions])
        assert not differing(replaced, nothing)
        assert not differing(await bench.store.read_many(ids), sessions)
        if isinstance(bench.store, SupportsScan):
            for limit in (None, self.large):
                assert len(await bench.scan(limit=limit)) == self.large
        destroyed = await bench.store.commit([Step.remove(session_id) for session_id in ids])
        assert not differing(destroyed, nothing)
        assert not differing(await bench.store.read_many(ids), nothing)

    @scenario(SupportsPurge, SupportsExpiry, expires_in=10)
    async def test_purge_removes_more_than_five_hundred(self, bench: Bench) -> None:
        sessions = [bench.session(f"kit:{number}") for number in range(self.large // 2)]
        if isinstance(bench.store, SupportsCommit):
            await bench.store.commit([Step.replace(session, None) for session in sessions])
        else:
            await asyncio.gather(*(bench.store.write(session.id, session) for session in sessions))
        await bench.write("kit:never", expires_in=None)
        await bench.age(10)
        assert await bench.store.purge() == len(sessions)
        assert await bench.store.read("kit:never") is not None

    @scenario(SupportsLease)
    async def test_a_thousand_leases_are_handled_at_once(self, bench: Bench) -> None:
        holders = {f"kit:{number}": A for number in range(self.large)}
        claims = [Claim(session_id, A, LONG, LONG) for session_id in holders]
        others = [Claim(session_id, "other", LONG, LONG) for session_id in holders]
        assert not differing(await bench.store.lease_many(claims), [None] * self.large)
        assert not differing(await bench.store.renew_leases(holders, LONG), [True] * self.large)
        assert {type(outcome) for outcome in await bench.store.lease_many(others[-WAITING:])} == {Held}
        await bench.store.release_leases(holders)
        assert not differing(await bench.store.renew_leases(holders, LONG), [False] * self.large)
        assert not differing(await bench.store.lease_many(others), [None] * self.large)

    @scenario(SupportsCommit)
    async def test_batches_in_opposite_orders_do_not_block_one_another(self, bench: Bench) -> None:
        for name in batches(bench, bench.store, []):
            await self._meet(bench, name)

    @scenario(SupportsCommit)
    async def test_batches_of_all_kinds_do_not_block_one_another(self, bench: Bench) -> None:
        await self._meet(bench, *batches(bench, bench.store, []))

    async def _meet(self, bench: Bench, *names: str) -> None:
        """Send batches of these kinds concurrently, in both orders, from two stores if they share their sessions."""
        other = await bench.open() if self.shared else bench.store
        for number in range(ROUNDS):
            found = await bench.store.read_many(IDS)
            sessions = [
                each if isinstance(each, Session) else await bench.write(session_id)
                for session_id, each in zip(IDS, found, strict=True)
            ]
            if isinstance(bench.store, SupportsLease):
                await bench.store.lease_many([Claim(session_id, A, LONG, LONG) for session_id in IDS])
            turned = sessions[::-1]
            each = [(bench.store, sessions), (bench.store, turned), (other, turned), (other, sessions)]
            sent = [(name, batches(bench, *which)[name]) for name in names for which in each[number % 2 :]]
            async with asyncio.timeout(min(10, self.time_limit / 2)):
                answers = await asyncio.gather(*(send() for _, send in sent))
            for (name, _), outcomes in zip(sent, answers, strict=True):
                for outcome in outcomes or []:
                    right = isinstance(outcome, SessionConflictError) or not isinstance(outcome, Exception)
                    assert right, f"an outcome of {name} is {outcome!r}"
            if isinstance(bench.store, SupportsLease):
                for holder in (A, B):
                    await bench.store.release_leases(dict.fromkeys(IDS, holder))
