"""The store of the driver `mongo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from botsession import (
    ONE_YEAR,
    Clock,
    CorruptSessionError,
    Finding,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    StoreUnavailableError,
    records,
    utc_now,
)
from botsession.ids import check_session_id
from botsession_mongo import conditions, documents
from botsession_mongo.batch import Batch
from botsession_mongo.clients import Api
from botsession_mongo.connection import Connection
from botsession_mongo.diagnosis import diagnose
from botsession_mongo.errors import was_cut_off

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import Replacement, Restoration, SessionInfo, StoredSession
    from botsession_mongo.clients import Client

    Collection = AsyncCollection[RawBSONDocument]

T = TypeVar("T")

PAGE: Final = 5000
"""How many sessions a page of a scan holds unless the caller says."""

_HEADER: Final = {
    **dict.fromkeys(("version", "expires_at", "last_activity", "created_at"), 1),
    "size": {"$bsonSize": "$$ROOT"},
}

_NOTHING: Final = {"$pull": {"_": 0}}
"""Changes nothing, since no document has that field; without it NX-27017 would store the dates of a `$set` as text."""


class MongoSessionStore:
    """Keeps sessions in a collection of MongoDB, one document each.

    Args:
        url: Where MongoDB is, with the database in its path (`botsession` where there is none) and with MongoDB's own
            options; `mongodb://localhost:27017/` where `None`.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        collection_name: The collection, which should hold nothing else.
        api: Which client to make: `motor`, or `pymongo` for PyMongo's own asyncio client.
        client: A ready `AsyncIOMotorClient` or `AsyncMongoClient`, which is never closed; in place of `url`.
        timeout: Seconds after which a server that does not answer is given up.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment in UTC.

    Attributes:
        lifetime: How long sessions are kept.

    Raises:
        ConfigError: The URL is none, or an argument is out of range.
    """

    def __init__(
        self,
        url: str | None = None,
        expires_in: Minutes | None = ONE_YEAR,
        *,
        collection_name: str = "sessions",
        api: Api = "motor",
        client: Client | None = None,
        timeout: float = 5.0,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._connection = Connection(url, client, collection_name, api, timeout)
        self._run = self._connection.run

    def __repr__(self) -> str:
        return f"MongoSessionStore({self._connection})"

    async def init(self) -> Self:
        """Connects, and makes the TTL index where there is none; may be called again.

        Raises:
            ConfigError: The client does not take the URL's options.
            StoreError: The collection has another index on `expires_at`.
            StoreUnavailableError: The server does not answer, or refuses the credentials.
        """
        await self._connection.open()
        return self

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        await self._run(self._opened().database.command("ping"))

    async def read(self, session_id: str) -> StoredSession | None:
        document = await self._run(self._opened(session_id).find_one({"_id": session_id}))
        return self._live(document, session_id)

    async def write(self, session_id: str, session: StoredSession) -> None:
        collection = self._opened()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        await self._run(collection.replace_one({"_id": session_id}, documents.encode(session), upsert=True))

    async def destroy(self, session_id: str) -> None:
        await self._run(self._opened(session_id).delete_one({"_id": session_id}))

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        collection = self._opened()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        document = documents.encode(session)
        condition = conditions.unchanged(session_id, expected, self.lifetime.now())
        try:
            result = await self._run(collection.replace_one(condition, document, upsert=expected is None))
        except DuplicateKeyError as error:
            raise SessionConflictError(session_id) from error
        except StoreUnavailableError as error:
            if was_cut_off(error.__cause__) and await self._has_arrived(session):
                return
            raise
        if not result.matched_count and result.upserted_id is None:
            raise SessionConflictError(session_id)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        collection = self._opened(session_id)
        now = self.lifetime.now()
        changes = {"$set": {"expires_at": expires_at, "last_activity": now}, **_NOTHING}
        result = await self._run(collection.update_one(conditions.live(session_id, now), changes))
        return result.matched_count > 0

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions in the order of their ids, page by page; see `SupportsScan.scan`."""
        collection = self._opened()
        size = limit or PAGE
        cursor = collection.find(conditions.listed(prefix, after), _HEADER).sort("_id", 1).limit(size)
        found = await self._run(cursor.to_list(None))
        outcomes = (self._info(document, prefix) for document in found)
        return ScanPage.of(outcomes, str(found[-1]["_id"]) if len(found) == size else None)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        collection = self._opened(*session_ids)
        cursor = collection.find({"_id": {"$in": list(session_ids)}})
        found = {document["_id"]: document for document in await self._run(cursor.to_list(None))}
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id in session_ids:
            try:
                outcomes.append(self._live(found.get(session_id), session_id))
            except CorruptSessionError as error:
                outcomes.append(error)
        return outcomes

    async def replace_many(self, replacements: Sequence[Replacement]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened()
        for replacement in replacements:
            records.check_pair(replacement.session.id, replacement.session)
            self.lifetime.stamp(replacement.session)
        now = self.lifetime.now()
        return await self._carry_out(
            collection,
            Batch(stamped=True),
            [
                (entry.session, conditions.unchanged(entry.session.id, entry.expected, now), entry.expected is None)
                for entry in replacements
            ],
        )

    async def restore_many(self, restorations: Sequence[Restoration]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened()
        for restoration in restorations:
            records.check_restored(restoration.session)
        now = self.lifetime.now()
        return await self._carry_out(
            collection,
            Batch(stamped=False),
            [
                (entry.session, conditions.untouched(entry.session.id, entry.over, now), entry.over is None)
                for entry in restorations
            ],
        )

    async def destroy_many(self, session_ids: Sequence[str]) -> None:
        collection = self._opened(*session_ids)
        await self._run(collection.delete_many({"_id": {"$in": list(session_ids)}}))

    async def diagnose(self) -> list[Finding]:
        return await diagnose(self._connection, self._opened(), self.lifetime)

    async def _carry_out(
        self, collection: Collection, batch: Batch, changes: Sequence[tuple[StoredSession, dict[str, Any], bool]]
    ) -> list[SessionConflictError | StoreError | None]:
        """Stores sessions, each under its condition, and (`True`) also where no document is."""
        outcomes: list[SessionConflictError | StoreError | None] = [None] * len(changes)
        for index, (session, condition, upsert) in enumerate(changes):
            try:
                document = documents.encode(session)
            except SessionTooLargeError as error:
                outcomes[index] = error
                continue
            batch.add(index, session, ReplaceOne(condition, document, upsert=upsert))
        for index, failure in (await self._run_batch(collection, batch)).items():
            outcomes[index] = failure
        return outcomes

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

    async def _has_arrived(self, session: StoredSession) -> bool:
        """Tells, after a connection broke, whether the session was stored before that."""
        collection = self._opened().with_options(read_concern=ReadConcern("majority"))
        try:
            found = await self._run(collection.find_one({"_id": session.id, "version": session.version}, {"_id": 1}))
        except StoreError:
            return False
        return found is not None

    def _opened(self, *session_ids: str) -> Collection:
        collection = self._connection.collection
        if collection is None:
            raise StoreError(f"{self!r} is not open; call `await store.init()` first")
        if self._connection.is_elsewhere():
            raise StoreError(f"{self!r} was opened in another event loop; call `await store.init()` in this one")
        for session_id in session_ids:
            check_session_id(session_id)
        return collection

    def _info(self, document: RawBSONDocument, prefix: str) -> SessionInfo | CorruptSessionError | None:
        try:
            info = documents.decode_info(document, store=repr(self))
        except CorruptSessionError as error:
            return error
        return info if info.id.startswith(prefix) and not self.lifetime.expired(info.expires_at) else None

    def _live(self, document: RawBSONDocument | None, session_id: str) -> StoredSession | None:
        if document is None:
            return None
        session = documents.decode(document, session_id, store=repr(self))
        return None if self.lifetime.expired(session.expires_at) else session
