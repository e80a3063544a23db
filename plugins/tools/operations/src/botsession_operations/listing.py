"""The sessions of a store: listed page by page, or read in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from botsession.errors import CorruptSessionError
from botsession.lifetime import utc_now
from botsession.protocol import (
    ScanPage,
    SessionStore,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsScan,
    unsupported,
)
from botsession.storage import check_page_size

_PAGE: Final = 500


async def pages(
    store: SessionStore, prefix: str = "", *, after: str | None = None, limit: int | None = None
) -> AsyncGenerator[ScanPage, None]:
    """Iterate over the sessions of a store, in the backend's own order.

    A session that exists from beginning to end is found at least once. While others write, some backends return a session
    twice.

    Args:
        store: The open store.
        prefix: Only ids that start with this.
        after: Where to continue: the `next` of an earlier page.
        limit: Stop at the end of the page that reaches this number of sessions; `None` means all.

    Yields:
        Pages with `sessions`, with `unreadable` for records that are not sessions, and with `next` to continue later. An
        error in `unreadable` has an empty session id if the record does not reveal it.

    Raises:
        ConfigError: `limit` is not a positive number of sessions.
        UnsupportedError: The store cannot list its sessions.
        StoreError: `after` is not a cursor of this store, or the backend failed.
    """
    check_page_size(limit)
    if not isinstance(store, SupportsScan):
        raise unsupported(store, "scan", "list its sessions")
    left = limit
    while left is None or left > 0:
        page = await store.scan(prefix, after=after, limit=None if left is None else min(left, _PAGE))
        if not isinstance(store, SupportsExpiry):
            moment = now(store)
            sessions = [info for info in page.sessions if info.expires_at is None or info.expires_at > moment]
            page = ScanPage(sessions, page.next, page.unreadable)
        yield page
        after = page.next
        if after is None:
            return
        if left is not None:
            left -= len(page.sessions) + len(page.unreadable)


async def read_all(store: SessionStore, session_ids: Sequence[str]) -> list[StoredSession | CorruptSessionError | None]:
    """Read many sessions.

    Returns:
        For each id, in order: the session, `None` if it is absent or expired, or the reason why it cannot be read.

    Raises:
        StoreError: The backend failed.
    """
    outcomes: list[StoredSession | CorruptSessionError | None] = []
    if isinstance(store, SupportsCommit):
        for outcome in await store.read_many(session_ids):
            if isinstance(outcome, Exception) and not isinstance(outcome, CorruptSessionError):
                raise outcome
            outcomes.append(outcome if isinstance(outcome, CorruptSessionError) else unexpired(store, outcome))
        return outcomes
    for session_id in session_ids:
        try:
            outcomes.append(unexpired(store, await store.read(session_id)))
        except CorruptSessionError as error:
            outcomes.append(error)
    return outcomes


def now(store: SessionStore) -> datetime:
    """Return the current time by the store's clock, or by the system's if the store has none."""
    return store.lifetime.now() if isinstance(store, SupportsExpiry) else utc_now()


def unexpired(store: SessionStore, session: StoredSession | None) -> StoredSession | None:
    """Return the session, or `None` if it has expired, which a store without a clock does not check."""
    if session is None or isinstance(store, SupportsExpiry) or session.expires_at is None:
        return session
    return session if session.expires_at > now(store) else None
