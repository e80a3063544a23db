"""A batch of replacements or restorations: which of them took place, where the server only says how many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, WriteConcernError, WriteError

from botsession import SessionConflictError, StoreError
from botsession_mongo.errors import is_taken, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.raw_bson import RawBSONDocument

    from botsession_mongo.changes import Change


class Batch:
    """Sessions on their way to the server, each with the index of its outcome.

    Attributes:
        operations: What to send.
        stored: How many took place.
        failed: What is known to have failed, by index.
    """

    def __init__(self) -> None:
        self.operations: list[ReplaceOne[RawBSONDocument]] = []
        self.stored = 0
        self.failed: dict[int, StoreError] = {}
        self._entries: list[tuple[int, Change]] = []

    def add(self, index: int, change: Change, document: RawBSONDocument) -> None:
        """Adds one session, encoded."""
        self.operations.append(ReplaceOne(change.condition, document, upsert=change.upsert))
        self._entries.append((index, change))

    def take(self, error: BulkWriteError, where: str) -> None:
        """Notes what the server says has failed.

        Raises:
            StoreError: The whole batch is in doubt, since too few servers confirmed it.
        """
        details: Mapping[str, Any] = error.details
        for doubt in details["writeConcernErrors"]:
            cause = WriteConcernError(doubt.get("errmsg", "unconfirmed"), doubt.get("code"), doubt)
            raise translated(cause, where) from error
        self.stored = details["nMatched"] + details["nUpserted"]
        for failure in details["writeErrors"]:
            index, change = self._entries[failure["index"]]
            if is_taken(failure["code"], failure):
                self.failed[index] = SessionConflictError(change.session.id)
            else:
                self.failed[index] = translated(WriteError(failure["errmsg"], failure["code"], failure), where)
            self.failed[index].__cause__ = error

    def is_clear(self) -> bool:
        """Tells whether everything that is not known to have failed took place."""
        return self.stored + len(self.failed) == len(self.operations)

    def in_doubt(self) -> dict[str, tuple[int, Change]]:
        """Returns what is not known to have failed, by session id."""
        return {change.session.id: (index, change) for index, change in self._entries if index not in self.failed}

    def compare(self, found: Mapping[str, RawBSONDocument]) -> None:
        """Finds out what failed from what is stored now, and from how many took place.

        Args:
            found: The stored documents by session id, at least their versions and last activity.
        """
        unseen: list[tuple[int, Change]] = []
        in_doubt = self.in_doubt()
        lost = 0
        for session_id, (index, change) in in_doubt.items():
            document = found.get(session_id)
            if change.is_beaten(document):
                self.failed[index] = SessionConflictError(session_id)
                lost += 1
            elif not change.is_stored(document):
                unseen.append((index, change))
        written_over = self.stored - (len(in_doubt) - lost - len(unseen))
        if written_over == len(unseen):
            return
        for index, change in unseen:
            session_id = change.session.id
            self.failed[index] = (
                StoreError(
                    f"others wrote session {session_id!r} at the same time, before or after it was stored here; "
                    "read it to see which"
                )
                if written_over
                else SessionConflictError(session_id)
            )
