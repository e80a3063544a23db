"""What becomes of one session, change by change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from botsession.errors import CorruptSessionError
from botsession.protocol import SessionStore, StoredSession
from botsession_operations.clock import live


async def watch(
    store: SessionStore, session_id: str, *, interval: float = 1
) -> AsyncGenerator[StoredSession | CorruptSessionError | None, None]:
    """Looks at a session again and again.

    Changes that come faster than the interval are seen as one. A renewal of the deadline is no change.

    Args:
        store: The store, open.
        session_id: The session; it may be absent.
        interval: Seconds between two looks.

    Yields:
        The session as it is now, and then whenever it has another version; `None` where it is absent; the error where
        it is unreadable.

    Raises:
        InvalidSessionIdError: That is no session id.
        StoreError: The backend failed.
    """
    before: object = ...
    while True:
        found = await _look(store, session_id)
        if isinstance(found, CorruptSessionError):
            now: object = found.raw
        else:
            now = None if found is None else found.version
        if now != before:
            before = now
            yield found
        await asyncio.sleep(interval)


async def _look(store: SessionStore, session_id: str) -> StoredSession | CorruptSessionError | None:
    try:
        return live(store, await store.read(session_id))
    except CorruptSessionError as error:
        return error
