"""One session to be stored: under which condition, and how to see afterwards whether it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from botsession_mongo import conditions, documents, leases

if TYPE_CHECKING:
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument

    from botsession import Lifetime, Replacement, Restoration, StoredSession
    from botsession_mongo.leases import Found

SEEN = dict.fromkeys(("version", "previous", "last_activity"), 1)
"""What of a document tells whether a change took place."""


class Change(NamedTuple):
    """One session to be stored.

    Attributes:
        session: The session.
        condition: Under which it is stored.
        upsert: Whether it is stored also where no document is.
        over: What must be stored there; nothing of it where that does not matter; `None` where it must be absent.
        holder: Who gives up the lease by this.
        stamped: Whether its version is like no other; a restored one has that of before.
    """

    session: StoredSession
    condition: dict[str, Any]
    upsert: bool
    over: dict[str, Any] | None
    holder: str | None = None
    stamped: bool = True

    @classmethod
    def write(cls, session: StoredSession) -> Change:
        """Stores it whatever is there."""
        return cls(session, {"_id": session.id, "lease": None}, upsert=True, over={})

    @classmethod
    def replacement(cls, entry: Replacement, now: datetime) -> Change:
        """Stores it if nobody else wrote it."""
        condition = conditions.unchanged(entry.session.id, entry.expected, now, entry.holder)
        over = None if entry.expected is None else {"version": entry.expected}
        return cls(entry.session, condition, entry.expected is None, over, entry.holder)

    @classmethod
    def restoration(cls, entry: Restoration, now: datetime) -> Change:
        """Stores it if nobody else wrote or touched it."""
        condition = conditions.untouched(entry.session.id, entry.over, now)
        over = None
        if entry.over is not None:
            over = {"version": entry.over.version, "last_activity": DatetimeMS(entry.over.last_activity)}
        return cls(entry.session, condition, entry.over is None, over, stamped=False)

    def encode(self) -> RawBSONDocument:
        """Returns the document to be stored."""
        return documents.encode(self.session, self._previous)

    def allows(self, found: Found, lifetime: Lifetime) -> bool:
        """Tells whether it may be stored in the place of what was found."""
        if self.holder is not None and found.lease.is_held_by_another(self.holder, leases.now()):
            return False
        if not self.over:
            return self.over is not None or found.is_absent(lifetime)
        document = found.document
        return (
            document is not None
            and not found.is_absent(lifetime)
            and all(document.get(field) == value for field, value in self.over.items())
        )

    def is_stored(self, document: RawBSONDocument | None) -> bool:
        """Tells whether a document that is there now shows that it took place."""
        if document is None:
            return False
        if self.stamped:
            return self.session.version in (document.get("version"), document.get("previous"))
        moment = DatetimeMS(self.session.last_activity)
        return document.get("version") == self.session.version and document.get("last_activity") == moment

    def is_beaten(self, document: RawBSONDocument | None) -> bool:
        """Tells whether a document that is there now shows that somebody else was faster."""
        previous = self._previous
        return (
            document is not None
            and previous is not None
            and document.get("version") != self.session.version
            and document.get("previous") == previous
        )

    @property
    def _previous(self) -> str | None:
        return self.over["version"] if self.stamped and self.over else None
