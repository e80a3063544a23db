"""One step as commands, and how to tell from a document whether it took effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS
from pymongo import DeleteOne, UpdateOne

from botsession import ANYTHING, Session, SessionInfo, Step
from botsession_mongo import documents
from botsession_mongo.found_lease import held, removed_at

if TYPE_CHECKING:
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument

    from botsession_mongo.attempts import Attempts
    from botsession_mongo.connection import Operation


class Change:
    """A step as commands.

    Args:
        step: The step.
        now: The present moment.
        moment: The present moment by the server's clock; of no importance without a holder.

    Attributes:
        step: The step.
        first: The command that is sent first.
        operation: The command to send now.
        otherwise: The command to send if the first one finds nothing.
        attempts: The attempts at the commands after the first.

    Raises:
        StateError: The session holds what JSON cannot hold.
        SessionTooLargeError: It is larger than MongoDB takes.
    """

    def __init__(self, step: Step, now: datetime, moment: int) -> None:
        self.step = step
        self.otherwise: Operation | None = None
        session, expected, holder = step.session, step.expected, step.holder
        self._lease = {} if holder is None else held(holder, moment)
        self._previous: str | None = None
        condition = {**documents.ours(step.session_id), **self._lease}
        if expected is None:
            condition["placeholder"] = True
        elif isinstance(expected, Session | SessionInfo):
            untouched = {"version": expected.version, "last_activity": expected.last_activity}
            condition = documents.live(step.session_id, now, **untouched, **self._lease)
        elif expected is not ANYTHING:
            condition = documents.live(step.session_id, now, version=expected, **self._lease)
            self._previous = expected
        self._stored: dict[str, Any] = {}
        self.attempts: Attempts | None = None
        self.first: Operation
        if session is not None:
            fields = documents.encode(session, self._previous)
            self._stored = _update(fields, *([] if holder is None else ["lease"]))
            upsert = holder is None and (expected is ANYTHING or expected is None)
            self.first = UpdateOne(condition, self._stored, upsert=upsert)
        elif holder is None:
            self.first = DeleteOne(condition)
        else:
            self.first = DeleteOne({**condition, "queue": None})
            self.otherwise = UpdateOne(condition, _emptied(removed_at(moment)))
        self.operation: Operation = self.first

    @property
    def is_exact(self) -> bool:
        """Whether its outcome can be told from the documents that are stored after it."""
        step = self.step
        if step.session is None:
            return step.expected is ANYTHING and step.holder is None
        return step.holder is not None or self._previous is None

    def verdict(self, document: RawBSONDocument | None, *, is_taken: bool) -> bool | None:
        """Return whether it took effect, where fewer commands did than were sent; `None` if its document does not tell.

        Args:
            document: What is stored now.
            is_taken: Whether it would have inserted a document and there was one already.
        """
        if self.step.session is None:
            return self.is_exact and (document is None or documents.is_ours(document))
        if self.is_done(document) and (self.step.is_stamped or not is_taken):
            return True
        return False if is_taken or self.is_beaten(document) or not self.is_exact else None

    def is_done(self, document: RawBSONDocument | None) -> bool:
        """Return whether what is stored now shows that it took effect."""
        session = self.step.session
        if document is None or session is None:
            return session is None and (document is None or documents.is_placeholder(document))
        if self.step.is_stamped:
            return session.version in (document.get("version"), document.get("previous"))
        moment = DatetimeMS(session.last_activity)
        return document.get("version") == session.version and document.get("last_activity") == moment

    def is_beaten(self, document: RawBSONDocument | None) -> bool:
        """Return whether what is stored now shows that somebody else replaced the version that it expects."""
        return document is not None and self._previous is not None and document.get("previous") == self._previous

    def over_expired(self, document: RawBSONDocument, now: datetime) -> Operation:
        """Return the command that stores a new session in the place of one that has expired."""
        condition = {**documents.ours(self.step.session_id), **self._lease, "version": document.get("version")}
        return UpdateOne({**condition, "expires_at": {"$lte": now}}, self._stored)


def _update(fields: RawBSONDocument, *dropped: str) -> dict[str, Any]:
    """Return the update that stores a session, and drops some fields beyond its own."""
    absent = [field for field in documents.FIELDS if field not in fields]
    return {"$set": fields, "$unset": dict.fromkeys((*absent, "placeholder", *dropped), ""), **documents.NOTHING}


def _emptied(removed_at: datetime) -> dict[str, Any]:
    """Return the update that removes a session and its lease, and leaves a placeholder for those who wait for the lease."""
    gone = dict.fromkeys((*documents.FIELDS, "lease"), "")
    del gone["expires_at"]
    return {"$set": {"placeholder": True, "expires_at": removed_at}, "$unset": gone, **documents.NOTHING}
