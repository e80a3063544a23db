"""The conditions under which an operation touches a document: always one of ours.

`None` matches a field that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botsession_mongo.documents import MARK

if TYPE_CHECKING:
    from datetime import datetime

_LAST: Final = chr(0x10FFFF)


def ours(session_id: str) -> dict[str, Any]:
    """Return the condition for whatever this driver has stored there."""
    return {"_id": session_id, **MARK}


def nothing(session_id: str) -> dict[str, Any]:
    """Return a condition that no document meets, to be used with `upsert`: it inserts where no document is, and fails otherwise."""
    return {"_id": session_id, "botsession": "none"}


def live(session_id: str, now: datetime, **fields: Any) -> dict[str, Any]:
    """Return the condition for a session that has not expired and has these fields."""
    return {**ours(session_id), "version": {"$exists": True}, **fields, "expires_at": {"$gt": now}}


def listed(prefix: str, after: str | None) -> dict[str, Any]:
    """Return the condition for ids that begin with `prefix` and come after `after`."""
    bounds = {"$gte": prefix}
    if after is not None:
        bounds["$gt"] = after
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != _LAST:
            following = ord(prefix[index]) + 1
            bounds["$lt"] = prefix[:index] + chr(0xE000 if following == 0xD800 else following)
            break
    return {"_id": bounds}


def leasable(session_id: str) -> dict[str, Any]:
    """Return the condition that there is no lease, to be used with `upsert`; one that is over is looked at before it is taken."""
    return {**ours(session_id), "lease": None}


def lease_of(holder: str | None, moment: int) -> dict[str, Any]:
    """Return the condition that the lease is the holder's at that moment and nobody waits for it; without a holder, that none is there."""
    if holder is None:
        return {"lease": None}
    return {**held_by(holder, moment), "lease.queue": None}


def held_by(holder: str, moment: int) -> dict[str, Any]:
    """Return the condition that somebody holds the lease at that moment, whoever waits for it."""
    return {"lease.holder": holder, "lease.until": {"$gt": moment}}


def session(session_id: str) -> dict[str, Any]:
    """Return the condition for a session."""
    return {**ours(session_id), "version": {"$exists": True}}


def placeholder(session_id: str) -> dict[str, Any]:
    """Return the condition for a document that only carries a lease."""
    return {**ours(session_id), "placeholder": True}
