"""A batch of replacements or restorations: which of them took place, where the server only says how many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS
from pymongo.errors import BulkWriteError, WriteConcernError, WriteError

from botsession import SessionConflictError, StoreError
from botsession_mongo.errors import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.raw_bson import RawBSONDocument
    from pymongo import ReplaceOne

    from botsession import StoredSession

_DUPLICATE_KEY = 11000


class Batch:
    """Sessions on their way to the server, each with the index of its outcome.

    Args:
        stamped: Whether each has a version that is like no other; restored ones have that of before.

    Attributes:
        operations: What to send.
        stored: How many took place.
        failed: What is known to have failed, by index.
    """

    def __init__(self, *, stamped: bool) -> None:
        self.operations: list[ReplaceOne[RawBSONDocument]] = []
        self.stored = 0
        self.failed: dict[int, StoreError] = {}
        self._stamped = stamped
        self._entries: list[tuple[int, StoredSession]] = []

    def add(self, index: int, session: StoredSession, operation: ReplaceOne[RawBSONDocument]) -> None:
        """Adds one session."""
        self.operations.append(operation)
        self._entries.append((index, session))

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
            index, session = self._entries[failure["index"]]
            if failure["code"] == _DUPLICATE_KEY:
                self.failed[index] = SessionConflictError(session.id)
            else:
                self.failed[index] = translated(WriteError(failure["errmsg"], failure["code"], failure), where)
            self.failed[index].__cause__ = error

    def is_clear(self) -> bool:
        """Tells whether everything that is not known to have failed took place."""
        return self.stored + len(self.failed) == len(self.operations)

    def ids(self) -> list[str]:
        """Returns the ids in doubt."""
        return [session.id for index, session in self._entries if index not in self.failed]

    def compare(self, found: Mapping[str, RawBSONDocument]) -> dict[int, StoreError]:
        """Finds out what failed from what is stored now.

        Args:
            found: The stored documents by session id, at least version and last activity.

        Returns:
            What failed, by index.
        """
        missing = [
            (index, session)
            for index, session in self._entries
            if index not in self.failed and not self._is_stored(session, found.get(session.id))
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

    def _is_stored(self, session: StoredSession, found: RawBSONDocument | None) -> bool:
        if found is None or found.get("version") != session.version:
            return False
        return self._stamped or found.get("last_activity") == DatetimeMS(session.last_activity)
