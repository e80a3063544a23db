"""A batch of replacements: which of them took place, where the server only says how many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import BulkWriteError, WriteConcernError, WriteError

from botsession import Replacement, SessionConflictError, StoreError
from botsession_mongo.errors import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.raw_bson import RawBSONDocument
    from pymongo import ReplaceOne

_DUPLICATE_KEY = 11000


class Batch:
    """Replacements on their way to the server, each with the index of its outcome.

    Attributes:
        operations: What to send.
        stored: How many took place.
        failed: What is known to have failed, by index.
    """

    def __init__(self) -> None:
        self.operations: list[ReplaceOne[RawBSONDocument]] = []
        self.stored = 0
        self.failed: dict[int, StoreError] = {}
        self._entries: list[tuple[int, Replacement]] = []

    def add(self, index: int, replacement: Replacement, operation: ReplaceOne[RawBSONDocument]) -> None:
        """Adds one replacement."""
        self.operations.append(operation)
        self._entries.append((index, replacement))

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
            index, replacement = self._entries[failure["index"]]
            if failure["code"] == _DUPLICATE_KEY:
                self.failed[index] = SessionConflictError(replacement.session.id)
            else:
                self.failed[index] = translated(WriteError(failure["errmsg"], failure["code"], failure), where)
            self.failed[index].__cause__ = error

    def is_clear(self) -> bool:
        """Tells whether everything that is not known to have failed took place."""
        return self.stored + len(self.failed) == len(self.operations)

    def ids(self) -> list[str]:
        """Returns the ids in doubt."""
        return [replacement.session.id for index, replacement in self._entries if index not in self.failed]

    def compare(self, versions: Mapping[str, object]) -> dict[int, StoreError]:
        """Finds out what failed from the versions that are stored now: each of ours is like no other.

        Args:
            versions: The stored versions by session id.

        Returns:
            What failed, by index.
        """
        missing = [
            (index, replacement.session)
            for index, replacement in self._entries
            if index not in self.failed and versions.get(replacement.session.id) != replacement.session.version
        ]
        all_seen = self.stored + len(self.failed) + len(missing) == len(self.operations)
        for index, session in missing:
            self.failed[index] = (
                SessionConflictError(session.id)
                if all_seen
                else StoreError(
                    f"somebody else wrote session {session.id!r} at the same time, before or after it was stored here; "
                    "read it to see which"
                )
            )
        return self.failed
