"""The lease of a session, which lies inside the session's document.

    lease: {holder: "4be1...", until: 1795458081582, mark: "9f86...", queue: [{holder: "c2a0...", until: 1795458082700}]}

Moments are milliseconds since 1970 by the server's clock (see the module `clock`). `queue` is there while somebody waits. Every change gives the lease another `mark`, so that it can be changed by
compare-and-set whatever is in it.

Where no session is, a placeholder carries the lease: a document of nothing but `_id`, the mark of our documents, `placeholder`,
`lease` and `expires_at`, by which the TTL index removes it if its holder never comes back.
"""

from __future__ import annotations

import contextlib
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import bson
import msgspec
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from botsession import CorruptSessionError
from botsession.lifetime import new_version
from botsession.storage.leases import Lease
from botsession_mongo import conditions, documents

if TYPE_CHECKING:
    from botsession import Lifetime

GRACE: Final = timedelta(hours=1)
"""How long a placeholder outlives its lease, however the clocks of several servers differ."""

_LATEST: Final = 32_503_680_000_000
"""The year 3000, in milliseconds: no lease lasts longer."""

_COMPARED: Final = ("version", "expires_at", "last_activity", "created_at")

_PLACEHOLDER: Final = {"_id", *documents.MARK, "placeholder", "lease", "expires_at", "size"}
"""What a placeholder has, and what a scan tells of it beyond that."""


class Found:
    """A document, or none, with the lease in it.

    Args:
        session_id: The id.
        document: What is stored there; `None` where nothing is.
        moment: The present moment by the server's clock.

    Attributes:
        session_id: The id.
        document: What is stored there; `None` where nothing is.
        moment: When it was found, by the server's clock.
        lease: The lease in it, to be changed; a free one where there is none that can be read.
        mark: Its mark; `None` where there is none.
    """

    def __init__(self, session_id: str, document: RawBSONDocument | None, moment: int) -> None:
        self.session_id = session_id
        self.document = document
        self.moment = moment
        self.lease = Lease()
        self._stored = None if document is None else document.get("lease")
        self.mark = self._stored.get("mark") if isinstance(self._stored, RawBSONDocument) else None
        if isinstance(self._stored, RawBSONDocument):
            with contextlib.suppress(BSONError, msgspec.MsgspecError):
                lease = msgspec.convert(bson.decode(self._stored.raw), Lease)
                if all(0 <= moment <= _LATEST for moment in (lease.until, *(place.until for place in lease.queue))):
                    self.lease = lease

    @property
    def is_foreign(self) -> bool:
        """Whether another program's document is there."""
        return self.document is not None and not documents.is_ours(self.document)

    def is_absent(self, lifetime: Lifetime) -> bool:
        """Return whether no session is there, but at most a placeholder, or one that has expired and could be read."""
        if self.document is None or is_placeholder(self.document):
            return True
        ends = self.document.get("expires_at")
        if not isinstance(ends, DatetimeMS) or ends > DatetimeMS(lifetime.now()):
            return False
        try:
            documents.decode(self.document, self.session_id, store="")
        except CorruptSessionError:
            return False
        return True

    def is_held_by(self, holder: str) -> bool:
        """Return whether somebody holds the lease."""
        return self.lease.holder == holder and self.lease.until > self.moment

    def is_over(self) -> bool:
        """Return whether nobody holds the lease and nobody waits for it."""
        return self.lease.is_over(self.moment)

    def condition(self) -> dict[str, Any]:
        """Return the condition that the lease is still as it was found.

        What is no document is compared as a whole: a field of an empty array is, for MongoDB, neither there nor null.
        """
        if self.document is None:
            return conditions.nothing(self.session_id)
        ours = conditions.ours(self.session_id)
        if isinstance(self._stored, RawBSONDocument):
            return {**ours, "lease.mark": self.mark}
        return {**ours, "lease": None if self._stored is None else {"$eq": self._stored}}

    def condition_of_all(self) -> dict[str, Any]:
        """Return the condition that session, lease or placeholder are still as they were found."""
        condition = self.condition()
        if self.document is not None:
            for field in _COMPARED:
                value = self.document.get(field)
                if value is None or isinstance(value, str | DatetimeMS):
                    condition[field] = value
        return condition

    def record(self) -> dict[str, Any]:
        """Return the lease as it is to be stored now."""
        return _record(self.lease)

    def placeholder(self) -> RawBSONDocument:
        """Return the document that carries the lease without a session."""
        ends = max(self.lease.until, *(place.until for place in self.lease.queue), self.moment)
        document = {
            **conditions.placeholder(self.session_id),
            "expires_at": removed_at(ends),
            "lease": self.record(),
        }
        return RawBSONDocument(bson.encode(document))

    def beside(self, document: RawBSONDocument | None) -> RawBSONDocument | None:
        """Return the document of a session, or of none, together with the lease if that is not over."""
        if self.is_over():
            return document
        if document is None:
            return self.placeholder()
        body = bytes(document.raw)[4:-1] + bson.encode({"lease": self.record()})[4:]
        return RawBSONDocument(struct.pack("<i", len(body) + 4) + body)


def is_placeholder(document: RawBSONDocument) -> bool:
    """Return whether a document of ours only carries a lease, so that there is no session."""
    return "lease" in document and documents.is_ours(document) and document.keys() <= _PLACEHOLDER


def taken(holder: str, until: float) -> dict[str, Any]:
    """Return the lease, as it is to be stored, of a holder for whom nobody waits yet."""
    return _record(Lease(holder, until))


def removed_at(until: float) -> datetime:
    """Return when a placeholder may be removed whose lease ends then."""
    return datetime.fromtimestamp(until / 1000, UTC) + GRACE


def _record(lease: Lease) -> dict[str, Any]:
    record: dict[str, Any] = {"holder": lease.holder, "until": int(lease.until), "mark": new_version()}
    if lease.queue:
        record["queue"] = [{"holder": place.holder, "until": int(place.until)} for place in lease.queue]
    return record
