"""The conditions under which an operation touches a document.

The deadline's alternatives stand in an `$and` of their own: NX-27017 would otherwise take them for alternatives to the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from botsession import SessionInfo, StoredSession

_LAST: Final = chr(0x10FFFF)


def unchanged(session_id: str, expected: str | None, now: datetime) -> dict[str, Any]:
    """Returns the condition of a replacement, to be used with `upsert` where nothing is expected.

    What is there and live then does not match, so that the upsert inserts it a second time and fails.
    """
    if expected is None:
        return {"_id": session_id, "expires_at": {"$lte": now}}
    return {"$and": [{"_id": session_id, "version": expected}, _not_expired(now)]}


def untouched(session_id: str, over: StoredSession | SessionInfo | None, now: datetime) -> dict[str, Any]:
    """Returns the condition of a restoration, to be used like that of a replacement."""
    if over is None:
        return unchanged(session_id, None, now)
    found = {"_id": session_id, "version": over.version, "last_activity": over.last_activity}
    return {"$and": [found, _not_expired(now)]}


def live(session_id: str, now: datetime) -> dict[str, Any]:
    """Returns the condition for a session that has not expired."""
    return {"$and": [{"_id": session_id}, _not_expired(now)]}


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


def _not_expired(now: datetime) -> dict[str, Any]:
    return {"$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
