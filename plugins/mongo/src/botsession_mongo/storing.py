"""Storing and removing sessions, each by one command; where a lease is in the document, beside that.

What is stored replaces the whole document. Where somebody else's lease is in it, or somebody waits for the holder's own,
that command finds nothing; then the document is read, and stored together with the lease if that is still as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bson.datetime_ms import DatetimeMS
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from botsession import SessionConflictError, SessionTooLargeError, StoreError, StoreUnavailableError
from botsession_mongo import conditions, documents, leases
from botsession_mongo.batch import Batch
from botsession_mongo.errors import was_cut_off
from botsession_mongo.holding import ATTEMPTS, changed_too_often
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import Lifetime, Replacement, Restoration, StoredSession
    from botsession_mongo.connection import Connection

    Collection = AsyncCollection[RawBSONDocument]


class Change(NamedTuple):
    """One session to be stored.

    Attributes:
        session: The session.
        condition: Under which it is stored.
        upsert: Whether it is stored also where no document is.
        over: What must be stored there; nothing of it where that does not matter; `None` where it must be absent.
        holder: Who gives up the lease by this.
    """

    session: StoredSession
    condition: dict[str, Any]
    upsert: bool
    over: dict[str, Any] | None
    holder: str | None = None

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
        return cls(entry.session, condition, entry.over is None, over)

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


class Storing:
    """What one store writes.

    Args:
        connection: The store's.
        lifetime: The store's.
    """

    def __init__(self, connection: Connection, lifetime: Lifetime) -> None:
        self._connection = connection
        self._run = connection.run
        self._lifetime = lifetime

    async def store(self, collection: Collection, change: Change) -> None:
        """Stores one session.

        Raises:
            SessionConflictError: The condition does not hold.
        """
        session = change.session
        document = documents.encode(session)
        cause: Exception | None = None
        try:
            result = await self._run(collection.replace_one(change.condition, document, upsert=change.upsert))
            if result.matched_count or result.upserted_id is not None:
                return
        except DuplicateKeyError as error:
            cause = error
        except StoreUnavailableError as error:
            if was_cut_off(error.__cause__) and await self._has_arrived(collection, session):
                return
            raise
        if not await self._store_beside(collection, change, document):
            raise SessionConflictError(session.id) from cause

    async def store_many(
        self, collection: Collection, changes: Sequence[Change], *, stamped: bool
    ) -> list[SessionConflictError | StoreError | None]:
        """Stores many sessions, each with an outcome of its own.

        Args:
            collection: Where to store them.
            changes: What to store.
            stamped: Whether each has a version that is like no other.
        """
        batch = Batch(stamped=stamped)
        encoded: dict[int, RawBSONDocument] = {}
        outcomes: list[SessionConflictError | StoreError | None] = [None] * len(changes)
        for index, change in enumerate(changes):
            try:
                encoded[index] = document = documents.encode(change.session)
            except SessionTooLargeError as error:
                outcomes[index] = error
                continue
            batch.add(index, change.session, ReplaceOne(change.condition, document, upsert=change.upsert))
        failed = await self._run_batch(collection, batch)
        conflicts = [index for index, failure in failed.items() if isinstance(failure, SessionConflictError)]
        for index in await self._beside_leases(collection, changes, conflicts):
            if await self._store_beside(collection, changes[index], encoded[index]):
                del failed[index]
        for index, failure in failed.items():
            outcomes[index] = failure
        return outcomes

    async def destroy(self, collection: Collection, session_ids: Sequence[str]) -> None:
        """Removes sessions; their leases stay."""
        if len(session_ids) == 1:
            result = await self._run(collection.delete_one({"_id": session_ids[0], "lease": None}))
        else:
            result = await self._run(collection.delete_many({"_id": {"$in": list(session_ids)}, "lease": None}))
        if result.deleted_count < len(set(session_ids)):
            cursor = collection.find({"_id": {"$in": list(session_ids)}}, {"_id": 1})
            for document in await self._run(cursor.to_list(None)):
                await self._destroy_beside(collection, document["_id"])

    async def _run_batch(self, collection: Collection, batch: Batch) -> dict[int, StoreError]:
        """Sends a batch; returns what failed, by index."""
        if not batch.operations:
            return {}
        try:
            result = await self._run(collection.bulk_write(batch.operations, ordered=False))
            batch.stored = result.matched_count + result.upserted_count
        except BulkWriteError as error:
            batch.take(error, self._connection.where)
        if batch.is_clear():
            return batch.failed
        cursor = collection.find({"_id": {"$in": batch.ids()}}, {"version": 1, "last_activity": 1})
        return batch.compare({document["_id"]: document for document in await self._run(cursor.to_list(None))})

    async def _beside_leases(
        self, collection: Collection, changes: Sequence[Change], conflicts: Sequence[int]
    ) -> list[int]:
        """Returns those conflicts that may only be due to a lease in the document."""
        if not conflicts:
            return []
        ids = [changes[index].session.id for index in conflicts]
        cursor = collection.find({"_id": {"$in": ids}}, {"lease": 1})
        leased = {document["_id"] for document in await self._run(cursor.to_list(None)) if "lease" in document}
        return [
            index for index in conflicts if changes[index].holder is not None or changes[index].session.id in leased
        ]

    async def _store_beside(self, collection: Collection, change: Change, document: RawBSONDocument) -> bool:
        """Stores a session, and beside it the lease that is there; returns whether it was allowed."""
        for _ in range(ATTEMPTS):
            found = await self._look(collection, change.session.id)
            if not change.allows(found, self._lifetime):
                return False
            if change.holder is not None:
                found.lease.release(change.holder, leases.now())
            condition = found.condition_of_absence() if change.over is None else {**found.condition(), **change.over}
            try:
                result = await self._run(
                    collection.replace_one(condition, found.beside(document), upsert=found.document is None)
                )
            except DuplicateKeyError:
                continue
            if result.matched_count or result.upserted_id is not None:
                return True
        raise changed_too_often(change.session.id)

    async def _destroy_beside(self, collection: Collection, session_id: str) -> None:
        """Removes a session, and leaves the lease that is there in a placeholder."""
        for _ in range(ATTEMPTS):
            found = await self._look(collection, session_id)
            if found.document is None or leases.is_placeholder(found.document):
                return
            if found.is_over():
                if (await self._run(collection.delete_one(found.condition()))).deleted_count:
                    return
            elif (await self._run(collection.replace_one(found.condition(), found.placeholder()))).matched_count:
                return
        raise changed_too_often(session_id)

    async def _look(self, collection: Collection, session_id: str) -> Found:
        return Found(session_id, await self._run(collection.find_one({"_id": session_id})))

    async def _has_arrived(self, collection: Collection, session: StoredSession) -> bool:
        """Tells, after a connection broke, whether the session was stored before that."""
        majority = collection.with_options(read_concern=ReadConcern("majority"))
        try:
            found = await self._run(majority.find_one({"_id": session.id, "version": session.version}, {"_id": 1}))
        except StoreError:
            return False
        return found is not None
