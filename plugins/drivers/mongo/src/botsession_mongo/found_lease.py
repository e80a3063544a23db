"""A document and the lease in it as it was found, and the conditions and updates by which leases are taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import bson
import msgspec
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from botsession.lifetime import new_version
from botsession.storage.leases import Lease
from botsession_mongo.documents import NOTHING, ours

if TYPE_CHECKING:
    from botsession import Claim, StoredSession

    Read = Callable[[RawBSONDocument | None, str], StoredSession | None]
    """A function that returns the session of a document, or `None` if it is absent or expired."""

GRACE: Final = timedelta(hours=1)
"""How long a placeholder outlives its lease, however the clocks of several servers differ."""

_LATEST: Final = 32_503_680_000_000
"""The year 3000, in milliseconds: no lease lasts longer."""


def held(holder: str, moment: int) -> dict[str, Any]:
    """Return the condition that somebody holds the lease at that moment, whoever waits for it."""
    return {"lease.holder": holder, "lease.until": {"$gt": moment}}


def removed_at(until: float) -> datetime:
    """Return when a placeholder may be removed whose lease ends then."""
    return datetime.fromtimestamp(until / 1000, UTC) + GRACE


class FoundLease:
    """A document, or none, and the lease in it.

    Args:
        session_id: The session.
        document: What is stored there.
        moment: The present moment by the server's clock.
        is_absent: Whether there is no session, or one that has expired.

    Attributes:
        session_id: The session.
        document: What is stored there.
        moment: The present moment by the server's clock.
        is_absent: Whether there is no session, or one that has expired.
        lease: The lease, to be changed; a free one if there is none that can be read.
    """

    def __init__(self, session_id: str, document: RawBSONDocument | None, moment: int, *, is_absent: bool) -> None:
        self.session_id = session_id
        self.document = document
        self.moment = moment
        self.lease: Lease = Lease()
        self.is_absent = is_absent
        self._stored: Mapping[str, Any] = {} if document is None else document
        with contextlib.suppress(BSONError, msgspec.MsgspecError):
            places = bson.decode(bson.encode({"queue": self._stored.get("queue", [])}))
            lease = msgspec.convert({**plain(self._stored.get("lease")), **places}, Lease)
            if all(0 <= moment <= _LATEST for moment in (lease.until, *(place.until for place in lease.queue))):
                self.lease = lease

    def concerns(self, holder: str) -> bool:
        """Return whether somebody has the lease or waits for it."""
        return self.lease.holder == holder or any(place.holder == holder for place in self.lease.queue)

    def is_over(self) -> bool:
        """Return whether nobody holds the lease and nobody waits for it."""
        return self.lease.is_over(self.moment)

    def condition(self) -> dict[str, Any]:
        """Return the condition that the lease is still as it was found; of what is no session, the rest as well."""
        lease = self._stored.get("lease")
        condition = {**ours(self.session_id), "queue_mark": self._stored.get("queue_mark")}
        if isinstance(lease, RawBSONDocument):
            condition |= {f"lease.{name}": lease.get(name) for name in ("holder", "until")}
        else:
            condition["lease"] = None if lease is None else {"$eq": lease}
        if self.is_absent:
            condition |= {name: self._stored.get(name) for name in ("version", "expires_at")}
        return condition

    def fields(self) -> dict[str, Any]:
        """Return the fields of the lease as they are to be stored."""
        lease, fields = self.lease, dict[str, object]()
        if lease.holder and lease.until > self.moment:
            fields["lease"] = {"holder": lease.holder, "until": int(lease.until)}
        if lease.queue:
            places = [{"holder": place.holder, "until": int(place.until)} for place in lease.queue]
            fields |= {"queue": places, "queue_mark": new_version()}
        return fields

    def placeholder(self) -> RawBSONDocument:
        """Return the document that carries the lease without a session."""
        ends = max(self.moment, self.lease.until, *(place.until for place in self.lease.queue))
        document = {**ours(self.session_id), "placeholder": True, "expires_at": removed_at(ends), **self.fields()}
        return RawBSONDocument(bson.encode(document))


def plain(value: object) -> dict[str, Any]:
    """Return a document inside a document; an empty one if it is anything else."""
    return bson.decode(value.raw) if isinstance(value, RawBSONDocument) else {}


def free(session_id: str) -> dict[str, Any]:
    """Return the condition that nobody holds the lease or waits; one that is over is looked at before it is taken."""
    return {**ours(session_id), "lease": None, "queue": {"$exists": False}}


def record(claim: Claim, moment: int) -> dict[str, Any]:
    """Return the lease, as it is stored, of a claim for which it was free."""
    return {"holder": claim.holder, "until": int(moment + claim.ttl * 1000)}


def taking(claim: Claim, moment: int) -> dict[str, Any]:
    """Return the update by which a claim takes a free lease, in a placeholder if there is no document."""
    lease = record(claim, moment)
    inserted = {"placeholder": True, "expires_at": removed_at(lease["until"])}
    return {"$set": {"lease": lease}, "$setOnInsert": inserted, **NOTHING}
