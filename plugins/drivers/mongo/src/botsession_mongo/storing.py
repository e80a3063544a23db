"""Storing and removing sessions, each by one command; where a lease is in the document, beside that.

What is stored replaces the whole document. Where somebody else's lease is in it, or somebody waits for the holder's own,
that command finds nothing; then the document is read, and stored together with the lease if that is still as it was.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from bson.datetime_ms import DatetimeMS
from pymongo import DeleteOne
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from botsession import (
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    StoreUnavailableError,
)
from botsession_mongo import conditions, documents
from botsession_mongo.batch import Batch
from botsession_mongo.changes import SEEN
from botsession_mongo.errors import was_cut_off
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import Lifetime
    from botsession_mongo.changes import Change
    from botsession_mongo.connection import Connection

    Collection = AsyncCollection[RawBSONDocument]

Outcome = SessionConflictError | StoreError | None

_AT_ONCE: Final = 32
"""How many changes that need a command each are under way at a time."""


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

    async def carry_out(self, collection: Collection, change: Change) -> None:
        """Store or remove one session.

        Raises:
            SessionConflictError: The condition does not hold.
            SessionTooLargeError: MongoDB does not take it.
        """
        document = change.encode()
        cause: Exception | None = None
        try:
            try:
                is_done = await self._send(collection, change.condition, document, upsert=change.upsert)
            except DuplicateKeyError as error:
                is_done, cause = False, error
            if not is_done and not await self._carry_out_beside(collection, change, document):
                raise SessionConflictError(change.session_id) from cause
        except StoreUnavailableError as error:
            if not await self._have_arrived(collection, [change], error):
                raise

    async def carry_out_many(self, collection: Collection, changes: Sequence[Change]) -> list[Outcome]:
        """Store or remove many sessions, each with an outcome of its own.

        The server tells how many of a call took place, and which only where one inserts. So a change goes by a command of its
        own unless it may insert, or is made under a lease, beside which others do not write.
        """
        outcomes: list[Outcome] = [None] * len(changes)
        together: list[int] = []
        alone: list[int] = []
        for index, change in enumerate(changes):
            is_bulk = change.session is not None and (change.upsert or change.holder or not change.stamped)
            (together if is_bulk else alone).append(index)
        if len(changes) == 1:
            together, alone = [], [0]
        for index, outcome in (await self._carry_out_together(collection, changes, together)).items():
            outcomes[index] = outcome
        waiting = iter(alone)
        while some := list(islice(waiting, _AT_ONCE)):
            ends = await asyncio.gather(*(self._outcome(collection, changes[index]) for index in some))
            for index, end in zip(some, ends, strict=True):
                outcomes[index] = end
        return outcomes

    async def destroy(self, collection: Collection, session_ids: Sequence[str]) -> dict[str, StoreError]:
        """Remove whatever of ours is there, with its lease; return errors for what others have put there."""
        if not session_ids:
            return {}
        if len(session_ids) == 1:
            result = await self._run(collection.delete_one, conditions.ours(session_ids[0]))
            removed = result.deleted_count
        else:
            sent = await self._connection.send(collection, [DeleteOne(conditions.ours(each)) for each in session_ids])
            removed = sent.found
        if removed == len(session_ids):
            return {}
        cursor = collection.find(
            {"_id": {"$in": list(session_ids)}, "botsession": {"$ne": documents.MARK["botsession"]}}
        )
        return {
            str(each["_id"]): documents.foreign(each, each["_id"], store=self._connection.where)
            for each in await self._run(cursor.to_list, None)
        }

    async def _outcome(self, collection: Collection, change: Change) -> Outcome:
        try:
            await self.carry_out(collection, change)
        except StoreError as error:
            return error
        return None

    async def _carry_out_together(
        self, collection: Collection, changes: Sequence[Change], indexes: Iterable[int]
    ) -> Mapping[int, Outcome]:
        batch = Batch()
        outcomes: dict[int, Outcome] = {}
        encoded: dict[int, RawBSONDocument] = {}
        for index in indexes:
            try:
                document = changes[index].encode()
            except SessionTooLargeError as error:
                outcomes[index] = error
                continue
            if document is not None:
                encoded[index] = document
                batch.add(index, changes[index], document)
        await self._run_batch(collection, batch)
        outcomes |= batch.failed
        beside = await self._beside_leases(changes, batch.conflicts())
        ends = await asyncio.gather(
            *(self._outcome_beside(collection, changes[index], encoded[index]) for index in beside)
        )
        return outcomes | dict(zip(beside, ends, strict=True))

    async def _run_batch(self, collection: Collection, batch: Batch) -> None:
        """Send a batch, and find out what of it failed."""
        if not batch.operations:
            return
        try:
            batch.take(await self._connection.send(collection, batch.operations))
        except StoreUnavailableError as error:
            in_doubt = batch.in_doubt()
            arrived = await self._have_arrived(collection, [change for _, change in in_doubt.values()], error)
            if not arrived:
                raise
            batch.failed |= {index: error for session_id, (index, _) in in_doubt.items() if session_id not in arrived}
            return
        if not batch.is_clear():
            batch.compare(await self._see(self._connection.leases, list(batch.in_doubt())))

    async def _beside_leases(self, changes: Sequence[Change], conflicts: Sequence[int]) -> list[int]:
        """Return those conflicts that may only be due to a lease in the document, or to a session that has expired."""
        if not conflicts:
            return []
        ids = [changes[index].session_id for index in conflicts]
        cursor = self._connection.leases.find({"_id": {"$in": ids}}, {"lease": 1, "expires_at": 1})
        now = DatetimeMS(self._lifetime.now())
        may_go = {
            document["_id"]
            for document in await self._run(cursor.to_list, None)
            if "lease" in document or (isinstance(ends := document.get("expires_at"), DatetimeMS) and ends <= now)
        }
        return [
            index for index in conflicts if changes[index].holder is not None or changes[index].session_id in may_go
        ]

    async def _outcome_beside(self, collection: Collection, change: Change, document: RawBSONDocument) -> Outcome:
        try:
            if await self._carry_out_beside(collection, change, document):
                return None
        except StoreError as error:
            return error
        return SessionConflictError(change.session_id)

    async def _carry_out_beside(self, collection: Collection, change: Change, document: RawBSONDocument | None) -> bool:
        """Store a session, or remove it, beside the lease that is there; return whether it was allowed."""
        attempts = self._connection.attempts()
        while True:
            found = await self._look(change.session_id)
            if change.session is not None and change.stamped and change.is_done(found.document):
                return True
            if found.document is not None and found.is_foreign and change.over == {} and change.holder is None:
                raise documents.foreign(found.document, change.session_id, store=self._connection.where)
            if not change.allows(found, self._lifetime):
                return False
            if change.holder is not None:
                found.lease.release(change.holder, found.moment)
            there = found.beside(document)
            condition = found.condition_of_all() if change.over is None else {**found.condition(), **change.over}
            try:
                if await self._send(collection, condition, there, upsert=found.document is None):
                    return True
            except DuplicateKeyError:
                pass
            await attempts.pause()

    async def _send(
        self, collection: Collection, condition: dict[str, object], document: RawBSONDocument | None, *, upsert: bool
    ) -> bool:
        """Put a document, or nothing, in the place of what meets a condition; return whether that was there, or inserted."""
        if document is None:
            return (await self._run(collection.delete_one, condition)).deleted_count > 0
        result = await self._run(collection.replace_one, condition, document, upsert=upsert)
        return result.matched_count > 0 or result.upserted_id is not None

    async def _look(self, session_id: str) -> Found:
        document = await self._run(self._connection.leases.find_one, {"_id": session_id})
        return Found(session_id, document, await self._connection.clock.now())

    async def _have_arrived(
        self, collection: Collection, changes: Sequence[Change], error: StoreUnavailableError
    ) -> set[str]:
        """Return, after a connection broke, the ids of the sessions that were changed before that, as far as is known."""
        if not was_cut_off(error.__cause__):
            return set()
        majority = collection.with_options(read_concern=ReadConcern("majority"))
        try:
            found = await self._see(majority, [change.session_id for change in changes])
        except StoreError:
            return set()
        return {change.session_id for change in changes if change.is_done(found.get(change.session_id))}

    async def _see(self, collection: Collection, session_ids: Sequence[str]) -> Mapping[str, RawBSONDocument]:
        """Return what tells which version is stored, by session id."""
        cursor = collection.find({"_id": {"$in": session_ids}}, SEEN)
        return {document["_id"]: document for document in await self._run(cursor.to_list, None)}
