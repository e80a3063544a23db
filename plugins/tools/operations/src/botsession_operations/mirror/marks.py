"""Copies of sessions, and the mark that distinguishes them.

The old store leads a session as long as its record there is not a copy. Handing a session over is one compare-and-set in
the old store: the record that was copied becomes a copy itself. So the lead changes at one moment, and a turn that read
before it cannot be saved in the old store after it.

The mark is a prefix of the version, which is opaque to stores; the session's own version follows it. A copy has the full
content. In the new store, a copy counts only if the old store has a copy of the same version: a copy that arrives late,
after its session was destroyed, is an orphan.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from botsession.lifetime import new_version
from botsession.protocol import StoredSession
from botsession.session import Session, SessionInfo

_MARK: Final = "copy:"

_EXTRA_LIFETIME: Final = timedelta(days=1)
"""How much longer the old store keeps a copy, so that it outlives its session even if a renewal is copied late."""


def is_copy(found: StoredSession | SessionInfo) -> bool:
    """Return whether a record is a copy."""
    return found.version.startswith(_MARK)


def as_copy(session: StoredSession) -> StoredSession:
    """Return a copy of a session, for the new store while the old one leads."""
    return session if is_copy(session) else dataclasses.replace(session, version=_MARK + session.version)


def as_kept_copy(session: StoredSession) -> StoredSession:
    """Return a copy of a session that lives longer, for the old store while the new one leads."""
    until = None if session.expires_at is None else session.expires_at + _EXTRA_LIFETIME
    return dataclasses.replace(as_copy(session), expires_at=until)


def placeholder(session_id: str, now: datetime) -> StoredSession:
    """Return the copy that the old store keeps of a session that is about to be created in the new one."""
    until = now + _EXTRA_LIFETIME
    return Session(session_id, created_at=now, last_activity=now, expires_at=until, version=_MARK + new_version())


def original(found: StoredSession) -> StoredSession:
    """Return the session that a record is a copy of, or the record itself if it is not a copy."""
    return dataclasses.replace(found, version=_version(found)) if is_copy(found) else found


def are_same_write(one: StoredSession | None, other: StoredSession | None) -> bool:
    """Return whether both records exist and have the same version, whether they are copies or not."""
    return one is not None and other is not None and _version(one) == _version(other)


def are_same(one: StoredSession | None, other: StoredSession) -> bool:
    """Return whether two records have the same version, activity and deadline, whether they are copies or not."""
    return (
        one is not None
        and _version(one) == _version(other)
        and (one.last_activity, one.expires_at) == (other.last_activity, other.expires_at)
    )


def _version(found: StoredSession) -> str:
    return found.version.removeprefix(_MARK)
