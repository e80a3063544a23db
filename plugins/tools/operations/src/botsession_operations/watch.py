"""Watching one session change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from botsession.errors import CorruptSessionError
from botsession.protocol import SessionStore, StoredSession
from botsession_operations.listing import unexpired


async def watch(
    store: SessionStore, session_id: str, *, interval: float = 1
) -> AsyncGenerator[StoredSession | CorruptSessionError | None, None]:
    """Poll a session and yield it whenever it has changed.

    Changes within one interval count as one. Renewing the deadline is not a change.

    Args:
        store: The open store.
        session_id: The session to watch; it may be absent.
        interval: Seconds between two reads.

    Yields:
        The session as it is now, and again each time its version changes: `None` if it is absent, or the error if it is
        unreadable.

    Raises:
        InvalidSessionIdError: `session_id` is not a session id.
        StoreError: The backend failed.
    """
    previous: object = ...
    while True:
        session = await _read(store, session_id)
        if isinstance(session, CorruptSessionError):
            current: object = session.raw
        else:
            current = None if session is None else session.version
        if current != previous:
            previous = current
            yield session
        await asyncio.sleep(interval)


async def _read(store: SessionStore, session_id: str) -> StoredSession | CorruptSessionError | None:
    try:
        return unexpired(store, await store.read(session_id))
    except CorruptSessionError as error:
        return error
