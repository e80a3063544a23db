"""The lease of a session, which lies inside the session's document.

    lease: {holder: "4be1...", until: 1795458081582, free: 1795458081582, mark: "9f86...",
            queue: [{holder: "c2a0...", until: 1795458082700}]}

Moments are milliseconds since 1970 by this machine's clock. From `free` on nobody holds the lease and nobody waits for it;
`queue` is there while somebody waits. Every change gives the lease another `mark`, so that it can be changed by
compare-and-set whatever is in it.

Where no session is, a placeholder carries the lease: a document of nothing but `_id`, `lease` and `expires_at`, by which
the TTL index removes it if its holder never comes back.
"""

from __future__ import annotations

import contextlib
import struct
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import bson
import msgspec
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from botsession.leases import Lease
from botsession.lifetime import new_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botsession import Lifetime

GRACE: Final = timedelta(hours=1)
"""How long a placeholder outlives its lease, however the server's clock differs from this one."""

_LATEST: Final = 32_503_680_000_000
"""The year 3000, in milliseconds: no lease lasts longer."""

_PLACEHOLDER: Final = {"_id", "lease", "expires_at", "size"}
"""What a placeholder has, and what a scan tells of it beyond that."""


class Found:
    """A document, or none, with the lease in it.

    Attributes:
        session_id: The id.
        document: What is stored there; `None` where nothing is.
        lease: The lease in it, to be changed; a free one where there is none that can be read.
        mark: Its mark; `None` where there is none.
    """

    def __init__(self, session_id: str, document: RawBSONDocument | None) -> None:
        self.session_id = session_id
        self.document = document
        self.lease = Lease()
        self._stored = None if document is None else document.get("lease")
        self.mark = self._stored.get("mark") if isinstance(self._stored, RawBSONDocument) else None
        if isinstance(self._stored, RawBSONDocument):
            with contextlib.suppress(BSONError, msgspec.MsgspecError):
                lease = msgspec.convert(bson.decode(self._stored.raw), Lease)
                if all(0 <= moment <= _LATEST for moment in (lease.until, *(place.until for place in lease.queue))):
                    self.lease = lease

    def is_absent(self, lifetime: Lifetime) -> bool:
        """Tells whether no session is there, but at most a placeholder or what has expired."""
        if self.document is None or is_placeholder(self.document):
            return True
        ends = self.document.get("expires_at")
        return isinstance(ends, DatetimeMS) and ends <= DatetimeMS(lifetime.now())

    def is_over(self) -> bool:
        """Tells whether nobody holds the lease and nobody waits for it."""
        return self.lease.is_over(now())

    def condition(self) -> dict[str, Any]:
        """Returns the condition that the lease is still as it was found.

        What is no document is compared as a whole: a field of an empty array is, for MongoDB, neither there nor null.
        """
        if isinstance(self._stored, RawBSONDocument):
            return {"_id": self.session_id, "lease.mark": self.mark}
        return {"_id": self.session_id, "lease": None if self._stored is None else {"$eq": self._stored}}

    def condition_of_absence(self) -> dict[str, Any]:
        """Returns the condition that lease, placeholder or expired session are still as they were found."""
        document: Mapping[str, Any] = self.document or {}
        return {**self.condition(), "version": document.get("version"), "expires_at": document.get("expires_at")}

    def record(self) -> dict[str, Any]:
        """Returns the lease as it is to be stored now."""
        return _record(self.lease)

    def placeholder(self) -> dict[str, Any]:
        """Returns the document that carries the lease without a session."""
        record = self.record()
        return {"_id": self.session_id, "expires_at": ends_at(record), "lease": record}

    def beside(self, document: RawBSONDocument) -> RawBSONDocument:
        """Returns the document of a session together with the lease, if that is not over."""
        if self.is_over():
            return document
        body = bytes(document.raw)[4:-1] + bson.encode({"lease": self.record()})[4:]
        return RawBSONDocument(struct.pack("<i", len(body) + 4) + body)


def is_placeholder(document: RawBSONDocument) -> bool:
    """Tells whether a document only carries a lease, so that there is no session."""
    return "lease" in document and document.keys() <= _PLACEHOLDER


def taken(holder: str, ttl: float) -> dict[str, Any]:
    """Returns the lease, as it is to be stored, of a holder for whom nobody waits yet."""
    return _record(Lease(holder, now() + ttl * 1000))


def ends_at(record: dict[str, Any]) -> datetime:
    """Returns when a placeholder with this lease may be removed."""
    return datetime.fromtimestamp(record["free"] / 1000, UTC) + GRACE


def now() -> int:
    """Returns the present moment in milliseconds; not by the clock of a `Lifetime`, which can be stopped."""
    return time.time_ns() // 1_000_000


def _record(lease: Lease) -> dict[str, Any]:
    moments = [place.until for place in lease.queue]
    record: dict[str, Any] = {
        "holder": lease.holder,
        "until": int(lease.until),
        "free": int(max([lease.until, *moments] if lease.holder else moments, default=0)),
        "mark": new_version(),
    }
    if lease.queue:
        record["queue"] = [{"holder": place.holder, "until": int(place.until)} for place in lease.queue]
    return record
