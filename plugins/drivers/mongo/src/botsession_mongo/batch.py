"""A batch of replacements or restorations: which of them took place, where the server only says how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import ReplaceOne

from botsession import SessionConflictError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.raw_bson import RawBSONDocument

    from botsession_mongo.changes import Change
    from botsession_mongo.connection import Sent


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
        """Add one session, encoded."""
        self.operations.append(ReplaceOne(change.condition, document, upsert=change.upsert))
        self._entries.append((index, change))

    def take(self, sent: Sent) -> None:
        """Note what the server says of it."""
        self.stored = sent.found
        for position, failure in sent.failures.items():
            index, change = self._entries[position]
            self.failed[index] = failure or SessionConflictError(change.session_id)

    def is_clear(self) -> bool:
        """Return whether everything that is not known to have failed took place."""
        return self.stored + len(self.failed) == len(self.operations)

    def conflicts(self) -> list[int]:
        """Return the indexes of those that somebody else was faster with."""
        return [index for index, failure in self.failed.items() if isinstance(failure, SessionConflictError)]

    def in_doubt(self) -> dict[str, tuple[int, Change]]:
        """Return what is not known to have failed, by session id."""
        return {change.session_id: (index, change) for index, change in self._entries if index not in self.failed}

    def compare(self, found: Mapping[str, RawBSONDocument]) -> None:
        """Find out what failed from what is stored now, and from how many took place.

        A restoration that others may have written over counts as one that they were faster with: theirs is there, and newer.

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
            elif not change.is_done(document):
                unseen.append((index, change))
        # Below zero where the client has sent the batch again and the server counted the second time only.
        written_over = max(0, self.stored - (len(in_doubt) - lost - len(unseen)))
        if written_over == len(unseen):
            return
        for index, change in unseen:
            self.failed[index] = (
                StoreUnavailableError(
                    f"session {change.session_id!r} lost its lease and was written by others before and after this, or only "
                    "before. Read it to see which"
                )
                if written_over and change.stamped
                else SessionConflictError(change.session_id)
            )
