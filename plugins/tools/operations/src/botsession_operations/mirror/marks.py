"""Copies, and the mark that tells them from sessions.

A session is led by the old store as long as its record there is no copy. Handing it over is one compare-and-set in the
old store: the very record that was copied is made a copy itself. So there is one moment at which the lead changes, and
a turn that read before it cannot be saved in the old store after it.

The mark stands at the front of the version, which no store looks into; what follows it is the version of the session.
A copy has the whole content. In the new store a copy counts only where the old store has a copy of the same version:
one that came too late, after the session was destroyed, is nobody's session.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from botsession.lifetime import new_version
from botsession.protocol import StoredSession
from botsession.session import Session, SessionInfo

_MARK: Final = "copy:"

_LONGER: Final = timedelta(days=1)
"""How much longer the old store keeps a copy, so that none ends before its session although a renewal was copied late."""


def is_copy(found: StoredSession | SessionInfo) -> bool:
    """Tells whether a record is a copy."""
    return found.version.startswith(_MARK)


def copied(session: StoredSession) -> StoredSession:
    """Returns a copy of a session, for the new store while the old one leads."""
    return session if is_copy(session) else dataclasses.replace(session, version=_MARK + session.version)


def kept(session: StoredSession) -> StoredSession:
    """Returns a copy of a session, for the old store while the new one leads."""
    until = None if session.expires_at is None else session.expires_at + _LONGER
    return dataclasses.replace(copied(session), expires_at=until)


def placeholder(session_id: str, now: datetime) -> StoredSession:
    """Returns the copy that the old store keeps of a session which is about to be created in the new one."""
    until = now + _LONGER
    return Session(session_id, created_at=now, last_activity=now, expires_at=until, version=_MARK + new_version())


def original(found: StoredSession) -> StoredSession:
    """Returns the session of which a record is a copy, or the record itself."""
    return dataclasses.replace(found, version=_version(found)) if is_copy(found) else found


def are_same_write(one: StoredSession | None, other: StoredSession | None) -> bool:
    """Tells whether two records are there and have the same version, be they copies or not."""
    return one is not None and other is not None and _version(one) == _version(other)


def are_same(one: StoredSession | None, other: StoredSession) -> bool:
    """Tells whether two records have the same version, activity and deadline, be they copies or not."""
    return (
        one is not None
        and _version(one) == _version(other)
        and (one.last_activity, one.expires_at) == (other.last_activity, other.expires_at)
    )


def _version(found: StoredSession) -> str:
    return found.version.removeprefix(_MARK)
