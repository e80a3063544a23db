"""The conditions under which an operation touches a document.

The deadline's alternatives stand in an `$and` of their own: NX-27017 would otherwise take them for alternatives to the id.
`None` matches a field that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from botsession import SessionInfo, StoredSession

_LAST: Final = chr(0x10FFFF)
_EMPTY: Final = dict.fromkeys(("version", "state", "user", "created_at", "last_activity"))


def unchanged(session_id: str, expected: str | None, now: datetime, holder: str | None = None) -> dict[str, Any]:
    """Returns the condition of a replacement, to be used with `upsert` where nothing is expected.

    What is there and live then does not match, so that the upsert inserts it a second time and fails. Nor does what has
    a lease: the holder's own may be there, if nobody waits for it, and is gone with what is replaced.
    """
    if expected is not None:
        found = {"_id": session_id, "version": expected, **_no_lease_but_of(holder)}
        return {"$and": [found, _not_expired(now)]}
    if holder is not None:
        return placeholder_of(session_id, holder)
    return {"_id": session_id, "expires_at": {"$lte": now}, "lease": None}


def untouched(session_id: str, over: StoredSession | SessionInfo | None, now: datetime) -> dict[str, Any]:
    """Returns the condition of a restoration, to be used like that of a replacement."""
    if over is None:
        return unchanged(session_id, None, now)
    found = {"_id": session_id, "version": over.version, "last_activity": over.last_activity, "lease": None}
    return {"$and": [found, _not_expired(now)]}


def live(session_id: str, now: datetime) -> dict[str, Any]:
    """Returns the condition for a session that has not expired."""
    return {"$and": [{"_id": session_id, "version": {"$exists": True}}, _not_expired(now)]}


def listed(prefix: str, after: str | None) -> dict[str, Any]:
    """Returns the condition for ids that begin with `prefix` and come after `after`."""
    bounds = {"$gte": prefix}
    if after is not None:
        bounds["$gt"] = after
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != _LAST:
            following = ord(prefix[index]) + 1
            bounds["$lt"] = prefix[:index] + chr(0xE000 if following == 0xD800 else following)
            break
    return {"_id": bounds}


def leasable(session_id: str, now: int) -> dict[str, Any]:
    """Returns the condition that nobody holds the lease and nobody waits for it, to be used with `upsert`."""
    return {"_id": session_id, "$and": [{"$or": [{"lease": None}, {"lease.free": {"$lte": now}}]}]}


def session_of(session_id: str, holder: str) -> dict[str, Any]:
    """Returns the condition for a session whose lease is the holder's, and nobody waits for it."""
    return {"_id": session_id, "version": {"$exists": True}, **_no_lease_but_of(holder)}


def placeholder_of(session_id: str, holder: str) -> dict[str, Any]:
    """Returns the condition for a placeholder whose lease is the holder's, and nobody waits for it."""
    return {"_id": session_id, **_EMPTY, **_no_lease_but_of(holder)}


def _no_lease_but_of(holder: str | None) -> dict[str, Any]:
    return {"lease": None} if holder is None else {"lease.holder": holder, "lease.queue": None}


def _not_expired(now: datetime) -> dict[str, Any]:
    return {"$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
