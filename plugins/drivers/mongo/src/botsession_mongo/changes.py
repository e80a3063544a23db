"""One session to be stored or removed: under which condition, and how to see afterwards whether it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from botsession import ANYTHING
from botsession_mongo import conditions, documents

if TYPE_CHECKING:
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument

    from botsession import (
        Lifetime,
        Step,
        StoredSession,
    )
    from botsession_mongo.leases import Found

SEEN = dict.fromkeys(("version", "previous", "last_activity"), 1)
"""What of a document tells whether a change took place."""


class Change(NamedTuple):
    """One session to be stored or removed.

    Attributes:
        session_id: Its id.
        session: The session; `None` to remove what is there.
        condition: Under which one command does it. Where it is not met, that may be due to the lease or to what has expired.
        over: What must be stored there; nothing of it where that does not matter; `None` where it must be absent.
        upsert: Whether it is stored also where no document is.
        holder: Who gives up the lease by this.
        stamped: Whether its version is like no other; a restored one has that of before.
    """

    session_id: str
    session: StoredSession | None
    condition: dict[str, Any]
    over: dict[str, Any] | None
    upsert: bool = False
    holder: str | None = None
    stamped: bool = True

    @classmethod
    def write(cls, session: StoredSession) -> Change:
        """Store it whatever is there."""
        condition = {**conditions.ours(session.id), "lease": None}
        return cls(session.id, session, condition, {}, upsert=True)

    @classmethod
    def replacement(cls, entry: Step, now: datetime, moment: int) -> Change:
        """Store it if nobody else wrote it.

        Args:
            entry: What to store.
            now: The present moment.
            moment: The present moment by the server's clock; of no importance without a holder.
        """
        session = entry.session
        lease = conditions.lease_of(entry.holder, moment)
        if entry.expected is not None:
            condition = conditions.live(session.id, now, **{"version": entry.expected, **lease})
            return cls(session.id, session, condition, {"version": entry.expected}, holder=entry.holder)
        if entry.holder is not None:
            return cls(session.id, session, {**conditions.placeholder(session.id), **lease}, None, holder=entry.holder)
        return cls(session.id, session, conditions.nothing(session.id), None, upsert=True)

    @classmethod
    def restoration(cls, entry: Step, now: datetime) -> Change:
        """Store it if nobody else wrote or touched it."""
        session, there = entry.session, entry.expected
        if there is None:
            return cls(session.id, session, conditions.nothing(session.id), None, upsert=True, stamped=False)
        fields = {"version": there.version, "last_activity": there.last_activity, "lease": None}
        over = {"version": there.version, "last_activity": DatetimeMS(there.last_activity)}
        return cls(session.id, session, conditions.live(session.id, now, **fields), over, stamped=False)

    @classmethod
    def removal(cls, entry: Step, now: datetime, moment: int) -> Change:
        """Remove it if nobody else wrote it; without a holder, its lease goes with it."""
        lease = {} if entry.holder is None else conditions.lease_of(entry.holder, moment)
        over = {} if entry.expected is ANYTHING else {"version": entry.expected}
        if entry.expected is ANYTHING:
            condition = {**conditions.ours(entry.session_id), **lease}
        else:
            condition = conditions.live(entry.session_id, now, **{**over, **lease})
        return cls(entry.session_id, None, condition, over, holder=entry.holder)

    def encode(self) -> RawBSONDocument | None:
        """Return the document to be stored; `None` where one is to be removed."""
        return None if self.session is None else documents.encode(self.session, self._previous)

    def allows(self, found: Found, lifetime: Lifetime) -> bool:
        """Return whether it may be carried out in the place of what was found."""
        if found.is_foreign or (self.holder is not None and not found.is_held_by(self.holder)):
            return False
        if not self.over:
            return self.over is not None or found.is_absent(lifetime)
        document = found.document
        return (
            document is not None
            and not found.is_absent(lifetime)
            and all(document.get(field) == value for field, value in self.over.items())
        )

    def is_done(self, document: RawBSONDocument | None) -> bool:
        """Return whether a document that is there now, or its absence, shows that it took place."""
        if self.session is None:
            return document is None
        if document is None:
            return False
        if self.stamped:
            return self.session.version in (document.get("version"), document.get("previous"))
        moment = DatetimeMS(self.session.last_activity)
        return document.get("version") == self.session.version and document.get("last_activity") == moment

    def is_beaten(self, document: RawBSONDocument | None) -> bool:
        """Return whether a document that is there now shows that somebody else was faster."""
        previous = self._previous
        return (
            document is not None
            and self.session is not None
            and previous is not None
            and document.get("version") != self.session.version
            and document.get("previous") == previous
        )

    @property
    def _previous(self) -> str | None:
        return self.over["version"] if self.stamped and self.over else None
