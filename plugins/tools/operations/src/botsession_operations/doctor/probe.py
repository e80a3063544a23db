"""Probe: measure a store's latency, and create, change and remove a session in it."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from botsession.errors import StoreError
from botsession.lifetime import Lifetime
from botsession.protocol import (
    Finding,
    SessionStore,
    StoredSession,
    SupportsExpiry,
    SupportsPing,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session

PREFIX: Final = "botsession-doctor:"
"""Prefix of the ids of probe sessions."""

_MINUTES: Final = 1
"""Lifetime of a probe session, in case this process is killed before it removes it."""

_PINGS: Final = 5
_SLOW: Final = 0.1
_STATE: Final = {"text": "\u00e9\U0001f600", "numbers": [1, 1.0, -0.0, 2**53 + 1], "z": None, "a": {"nested": [True]}}
_LISTED: Final = 10_000
_LISTING_SECONDS: Final = 3.0


async def measure(store: SessionStore) -> Finding:
    """Measure the latency of the store.

    Raises:
        StoreError: The store does not answer.
    """
    ask: Callable[[], Awaitable[object]] = lambda: store.read(_new_id())  # noqa: E731 - one of two ways to ask
    if isinstance(store, SupportsPing):
        ask = store.ping
    seconds = []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    message = f"answers in {max(median * 1000, 0.1):.1f} ms (median of {_PINGS})"
    if median < _SLOW:
        return Finding("ok", "backend", message)
    return Finding("warning", "backend", f"{message}; a turn makes two calls", "Run the bot closer to its backend.")


async def use(store: SessionStore) -> Finding:
    """Create, read, replace, renew and destroy a probe session. It is removed even if a step fails.

    Raises:
        StoreError: The store refused a step, or returned something else than what was stored.
    """
    session: StoredSession = Session(_new_id(), dict(_STATE), expires_in=_MINUTES)
    begin = time.perf_counter()
    try:
        await _exercise(store, session)
    except BaseException:
        # The first error is the one to report.
        with contextlib.suppress(Exception):
            await store.destroy(session.id)
        raise
    await store.destroy(session.id)
    if await store.read(session.id) is not None:
        raise StoreError(f"the probe session {session.id!r} still exists after it was destroyed")
    milliseconds = (time.perf_counter() - begin) * 1000
    done = "created, read, replaced" + (", renewed" if isinstance(store, SupportsTouch) else "") + " and destroyed"
    message = f"a probe session was {done} in {milliseconds:.0f} ms"
    return Finding("ok", "access", message)


async def list_some(store: SupportsScan) -> Finding:
    """List the first sessions and count the unreadable ones.

    Raises:
        StoreError: The store does not answer.
    """
    sessions = 0
    damaged: list[str] = []
    after = None
    until = time.monotonic() + _LISTING_SECONDS
    while sessions + len(damaged) < _LISTED and time.monotonic() < until:
        page = await store.scan(after=after, limit=1000)
        sessions += sum(not info.id.startswith(PREFIX) for info in page.sessions)
        damaged += [error.session_id for error in page.unreadable]
        after = page.next
        if after is None:
            break
    count = f"{sessions:,} sessions" if after is None else f"the first {sessions:,} sessions"
    if not damaged:
        return Finding("ok", "sessions", f"{count}, all readable")
    few = ", ".join(map(repr, damaged[:3])) + (", ..." if len(damaged) > 3 else "")
    return Finding(
        "warning",
        "sessions",
        f"{count}; {len(damaged):,} unreadable: {few}",
        "Repair, recover or destroy these sessions. Every turn of them fails.",
    )


async def _exercise(store: SessionStore, session: StoredSession) -> None:
    await _save(store, session, None)
    await _compare(store, session)
    first, session.state = session.version, {"changed": True}
    await _save(store, session, first)
    await _compare(store, session)
    if isinstance(store, SupportsTouch) and not await store.touch(session.id, session.expires_at):
        raise StoreError("a probe session that had just been stored was absent when it was renewed")


def _new_id() -> str:
    return PREFIX + os.urandom(8).hex()


async def _save(store: SessionStore, session: StoredSession, expected: str | None) -> None:
    if not isinstance(store, SupportsExpiry):
        Lifetime(_MINUTES).stamp(session)
    if isinstance(store, SupportsReplace):
        await store.replace(session.id, session, expected=expected)
    else:
        await store.write(session.id, session)


async def _compare(store: SessionStore, session: StoredSession) -> None:
    found = await store.read(session.id)
    if found is None:
        raise StoreError("a probe session that had just been stored is absent")
    if (found.version, repr(found.state)) != (session.version, repr(session.state)):
        raise StoreError("a probe session was read back different from what was stored")
