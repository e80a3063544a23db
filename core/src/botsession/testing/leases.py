"""Claims of leases, for the tests of leases.

Leases end in real time, which no test can stop. So a lease that must not end lasts `LONG`, one that must end lasts `SHORT`, and a test
sleeps `PAST` until it has ended. A slow machine only makes a test slower. `LONG` in milliseconds is shorter than `PAST`, so that a
wrong unit is noticed.
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
"""Three holders. Each name is a prefix of the next, so that a comparison of prefixes is noticed."""

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
    """Claim one lease, in the bench's store or in another."""
    [outcome] = await (store or bench.store).lease_many([Claim(session_id, holder, ttl, again)])
    return outcome


async def take(
    bench: Bench, holder: str, session_id: str = ID, *, ttl: float = LONG, store: AnyStore | None = None
) -> StoredSession | None:
    """Take a lease, which must be free, and return the session."""
    outcome = await claim(bench, holder, session_id, ttl=ttl, store=store)
    assert not isinstance(outcome, Held), f"the lease is free, but {holder!r} does not get it: {outcome}"
    assert not isinstance(outcome, Exception), f"the outcome is {outcome!r}"
    return outcome


async def wait_for(
    bench: Bench, holder: str, session_id: str = ID, *, store: AnyStore | None = None
) -> StoredSession | None:
    """Claim a lease until it is granted, and return the session."""
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
    """Renew one lease; return whether the holder still had it."""
    [renewed] = await (store or bench.store).renew_leases({session_id: holder}, ttl)
    return renewed


async def is_held(bench: Bench, session_id: str = ID, *, by: str | None = None, store: AnyStore | None = None) -> bool:
    """Return whether a lease is held, and by the holder `by` if given. The lease stays as it is, for `LONG`."""
    store = store or bench.store
    if by is not None and not await renew(bench, by, session_id, store=store):
        return False
    held = isinstance(await claim(bench, "other", session_id, store=store), Held)
    await store.release_leases({session_id: "other"})
    return held


async def replace(bench: Bench, *replacements: Step) -> list[bool]:
    """Commit replacements; return for each whether it was stored rather than refused as a conflict."""
    outcomes = await bench.store.commit(replacements)
    for outcome, replacement in zip(outcomes, replacements, strict=True):
        if outcome is not None:
            assert type(outcome).__name__ == "SessionConflictError", f"the outcome is {outcome!r}"
            assert getattr(outcome, "session_id", None) == replacement.session_id
    return [outcome is None for outcome in outcomes]
