"""Saving a session that a person has edited."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from botsession.errors import SessionConflictError
from botsession.lifetime import Lifetime, new_version
from botsession.protocol import (
    SessionStore,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    unsupported,
)
from botsession.session import SessionInfo
from botsession.states import json_values

_TICK: Final = timedelta(milliseconds=1)


async def save_edited(store: SessionStore, session: StoredSession) -> None:
    """Save a session that was read and edited, unless somebody else has written or destroyed it since.

    Editing a session does not extend its life. In a store that supports `commit`, the deadline stays, and the last activity
    moves by one millisecond so that migrations and imports recognize the newer one. Other stores save it as a turn would.

    Args:
        store: The open store.
        session: The session as it was read, with a different state or user; it receives its new version in place.

    Raises:
        SessionConflictError: Somebody else wrote the session first; nothing was stored.
        StateError: The state or the user is not JSON; nothing was stored.
        UnsupportedError: The store cannot detect a concurrent write.
        StoreError: The backend failed.
    """
    if isinstance(store, SupportsCommit):
        await _restore(store, store, session)
        return
    if not isinstance(store, SupportsReplace):
        raise unsupported(store, "replace", "save an edited session without the risk of a lost turn")
    expected = session.version
    if not isinstance(store, SupportsExpiry):
        json_values.encode(json_values.to_json(session.state))
        json_values.encode_user(session.user)
        deadline = session.expires_at
        Lifetime(None).stamp(session)
        session.expires_at = deadline
    await store.replace(session.id, session, expected=expected)


async def _restore(store: SessionStore, committing: SupportsCommit, session: StoredSession) -> None:
    found: StoredSession | SessionInfo | None = SessionInfo(
        session.id, session.created_at, session.last_activity, session.expires_at, session.version
    )
    read = session.version
    session.version = new_version()
    session.last_activity += _TICK
    while True:
        (outcome,) = await committing.commit([Step.restore(session, found)])
        if outcome is None:
            return
        if not isinstance(outcome, SessionConflictError):
            raise outcome
        found = await store.read(session.id)
        if found is None or found.version != read:
            raise outcome
        # The session was only touched in between.
        session.last_activity, session.expires_at = found.last_activity + _TICK, found.expires_at
