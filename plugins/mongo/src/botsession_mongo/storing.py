"""Storing and removing sessions, each by one command; where a lease is in the document, beside that.

What is stored replaces the whole document. Where somebody else's lease is in it, or somebody waits for the holder's own,
that command finds nothing; then the document is read, and stored together with the lease if that is still as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from botsession import SessionConflictError, SessionTooLargeError, StoreError, StoreUnavailableError
from botsession_mongo import leases
from botsession_mongo.batch import Batch
from botsession_mongo.changes import SEEN
from botsession_mongo.errors import was_cut_off
from botsession_mongo.holding import ATTEMPTS, changed_too_often
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import Lifetime
    from botsession_mongo.changes import Change
    from botsession_mongo.connection import Connection

    Collection = AsyncCollection[RawBSONDocument]


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
        document = change.encode()
        cause: Exception | None = None
        try:
            try:
                result = await self._run(collection.replace_one(change.condition, document, upsert=change.upsert))
                is_stored = result.matched_count or result.upserted_id is not None
            except DuplicateKeyError as error:
                is_stored, cause = False, error
            if not is_stored and not await self._store_beside(collection, change, document):
                raise SessionConflictError(change.session.id) from cause
        except StoreUnavailableError as error:
            if not await self._have_arrived(collection, [change], error):
                raise

    async def store_many(
        self, collection: Collection, changes: Sequence[Change]
    ) -> list[SessionConflictError | StoreError | None]:
        """Stores many sessions, each with an outcome of its own."""
        batch = Batch()
        encoded: dict[int, RawBSONDocument] = {}
        outcomes: list[SessionConflictError | StoreError | None] = [None] * len(changes)
        for index, change in enumerate(changes):
            try:
                encoded[index] = change.encode()
            except SessionTooLargeError as error:
                outcomes[index] = error
                continue
            batch.add(index, change, encoded[index])
        await self._run_batch(collection, batch)
        failed = batch.failed
        conflicts = [index for index, failure in failed.items() if isinstance(failure, SessionConflictError)]
        for index in await self._beside_leases(collection, changes, conflicts):
            try:
                if await self._store_beside(collection, changes[index], encoded[index]):
                    del failed[index]
            except StoreError as error:
                failed[index] = error
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

    async def _run_batch(self, collection: Collection, batch: Batch) -> None:
        """Sends a batch, and finds out what of it failed."""
        if not batch.operations:
            return
        try:
            result = await self._run(collection.bulk_write(batch.operations, ordered=False))
            batch.stored = result.matched_count + result.upserted_count
        except BulkWriteError as error:
            batch.take(error, self._connection.where)
        except StoreUnavailableError as error:
            in_doubt = batch.in_doubt()
            arrived = await self._have_arrived(collection, [change for _, change in in_doubt.values()], error)
            if not arrived:
                raise
            batch.failed |= {index: error for session_id, (index, _) in in_doubt.items() if session_id not in arrived}
            return
        if not batch.is_clear():
            batch.compare(await self._see(collection, list(batch.in_doubt())))

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

    async def _have_arrived(
        self, collection: Collection, changes: Sequence[Change], error: StoreUnavailableError
    ) -> set[str]:
        """Returns, after a connection broke, the ids of the sessions that were stored before that, as far as is known."""
        if not was_cut_off(error.__cause__):
            return set()
        majority = collection.with_options(read_concern=ReadConcern("majority"))
        try:
            found = await self._see(majority, [change.session.id for change in changes])
        except StoreError:
            return set()
        return {change.session.id for change in changes if change.is_stored(found.get(change.session.id))}

    async def _see(self, collection: Collection, session_ids: Sequence[str]) -> Mapping[str, RawBSONDocument]:
        """Returns what tells which version is stored, by session id."""
        cursor = collection.find({"_id": {"$in": session_ids}}, SEEN)
        return {document["_id"]: document for document in await self._run(cursor.to_list(None))}
