"""Saving of a session that somebody has changed by hand."""

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

_A_LITTLE: Final = timedelta(milliseconds=1)


async def save_edited(store: SessionStore, session: StoredSession) -> None:
    """Saves a session that was read and changed, unless somebody else has written or destroyed it meanwhile.

    That somebody looked after a session is no reason for it to live longer: where the store can restore sessions, its
    deadline stays, and its last activity is a millisecond later, so that migrations and imports see which is newer.
    Elsewhere it is written as by a turn.

    Args:
        store: The store, open.
        session: The session as it was read, with another state or user; gets its new version in place.

    Raises:
        SessionConflictError: Somebody else was faster; nothing was stored.
        StateError: State or user hold what JSON cannot hold; nothing was stored.
        UnsupportedError: The store cannot tell whether somebody else was faster.
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


async def _restore(store: SessionStore, restoring: SupportsCommit, session: StoredSession) -> None:
    found: StoredSession | SessionInfo | None = SessionInfo(
        session.id, session.created_at, session.last_activity, session.expires_at, session.version
    )
    read = session.version
    session.version = new_version()
    session.last_activity += _A_LITTLE
    while True:
        (outcome,) = await restoring.commit([Step.restore(session, found)])
        if outcome is None:
            return
        if not isinstance(outcome, SessionConflictError):
            raise outcome
        found = await store.read(session.id)
        if found is None or found.version != read:
            raise outcome
        # A touch was all that came in between.
        session.last_activity, session.expires_at = found.last_activity + _A_LITTLE, found.expires_at
