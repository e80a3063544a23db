"""Claims of leases, as the tests of them make them.

Leases end by the real time, which no test can stop. So what must be held is held for `LONG`, what must end for `SHORT`, and
`PAST` is slept where it must have ended; a slow machine only makes a test slower. So many milliseconds as `LONG` has seconds are
over by then, so that a wrong unit is found out.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from botsession.protocol import Claim, Held
from botsession.testing.bench import ID

if TYPE_CHECKING:
    from botsession.errors import StoreError
    from botsession.protocol import Step, StoredSession
    from botsession.testing.bench import AnyStore, Bench

A: Final = "a"
B: Final = "ab"
C: Final = "abc"
"""Three holders; each name begins the next, so that comparing beginnings is found out."""

LONG: Final = 300.0
SHORT: Final = 0.25
PAST: Final = 0.5


async def claim(
    bench: Bench,
    holder: str,
    session_id: str = ID,
    *,
    ttl: float = LONG,
    again: float = LONG,
    store: AnyStore | None = None,
) -> StoredSession | Held | StoreError | None:
    """Asks for one lease, in the bench's store or in another."""
    [outcome] = await (store or bench.store).lease_many([Claim(session_id, holder, ttl, again)])
    return outcome


async def take(
    bench: Bench, holder: str, session_id: str = ID, *, ttl: float = LONG, store: AnyStore | None = None
) -> StoredSession | None:
    """Takes a lease, which must be free, and returns the session."""
    outcome = await claim(bench, holder, session_id, ttl=ttl, store=store)
    assert not isinstance(outcome, Held), f"{holder!r} does not get the lease, although it is free: {outcome}"
    assert not isinstance(outcome, Exception), f"the outcome is {outcome!r}"
    return outcome


async def wait_for(
    bench: Bench, holder: str, session_id: str = ID, *, store: AnyStore | None = None
) -> StoredSession | None:
    """Asks for a lease until it is there, and returns the session."""
    end = time.monotonic() + bench.contract.time_limit * 0.8
    while isinstance(outcome := await claim(bench, holder, session_id, store=store), Held):
        if time.monotonic() > end:
            pytest.fail(f"{holder!r} does not get the lease: {outcome}")
        await asyncio.sleep(0.01)
    assert not isinstance(outcome, Exception), f"the outcome is {outcome!r}"
    return outcome


async def renew(
    bench: Bench, holder: str, session_id: str = ID, *, ttl: float = LONG, store: AnyStore | None = None
) -> bool:
    """Renews one lease; returns whether the holder had it still."""
    [renewed] = await (store or bench.store).renew_leases({session_id: holder}, ttl)
    return renewed


async def is_held(bench: Bench, session_id: str = ID, *, by: str | None = None, store: AnyStore | None = None) -> bool:
    """Tells whether a lease is held, and `by` whom; it stays as it is, for `LONG`."""
    store = store or bench.store
    if by is not None and not await renew(bench, by, session_id, store=store):
        return False
    held = isinstance(await claim(bench, "other", session_id, store=store), Held)
    await store.release_leases({session_id: "other"})
    return held


async def replace(bench: Bench, *replacements: Step) -> list[bool]:
    """Replaces sessions; returns for each whether it was stored, and not refused by a conflict."""
    outcomes = await bench.store.commit(replacements)
    for outcome, replacement in zip(outcomes, replacements, strict=True):
        if outcome is not None:
            assert type(outcome).__name__ == "SessionConflictError", f"the outcome is {outcome!r}"
            assert getattr(outcome, "session_id", None) == replacement.session_id
    return [outcome is None for outcome in outcomes]
