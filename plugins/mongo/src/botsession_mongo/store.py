"""The store of the driver `mongo`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    CorruptSessionError,
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
from botsession_mongo import clients, documents
from botsession_mongo.batch import Batch
from botsession_mongo.clients import Api
from botsession_mongo.errors import translated, was_cut_off

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import Replacement, StoredSession
    from botsession_mongo.clients import Client

    Collection = AsyncCollection[RawBSONDocument]

T = TypeVar("T")

PAGE: Final = 1000
"""How many sessions a page of a scan holds unless the caller says."""

_LAST: Final = chr(0x10FFFF)

_HEADER: Final = {"version": 1, "expires_at": 1, "last_activity": 1, "created_at": 1}

_GRACE: Final = 1.2
"""The client is given its time limit; this much of it later the call ends in any case (motor may queue for a thread)."""

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
        if client is not None and url is not None:
            raise ConfigError("give a MongoSessionStore either a url or a client, not both")
        if api not in ("motor", "pymongo"):
            raise ConfigError(f"api is 'motor' or 'pymongo'; got {api!r}")
        if not timeout > 0:
            raise ConfigError(f"timeout is a number of seconds above zero; got {timeout}")
        if not collection_name or "$" in collection_name or "\0" in collection_name:
            raise ConfigError(f"collection_name is no name of a collection: {collection_name!r}")
        if client is not None:
            clients.check(client)
        self.lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._address = clients.parse(url or clients.DEFAULT_URL) if client is None else None
        self._given = client
        self._api: Api = api
        self._name = collection_name
        self._timeout = timeout
        limit = timeout if self._address is None else self._address.options.get("timeoutMS", timeout)
        self._limit = limit * _GRACE if limit else None
        self._client: Client | None = None
        self._collection: Collection | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        where = "client=..." if self._address is None else repr(f"mongodb://{self._address.servers}")
        database = "" if self._address is None else f", database={self._address.database!r}"
        return f"MongoSessionStore({where}{database}, collection_name={self._name!r})"

    @property
    def _where(self) -> str:
        return "MongoDB" if self._address is None else f"MongoDB at {self._address.servers}"

    async def init(self) -> Self:
        """Connects, and makes the TTL index where there is none; may be called again.

        Raises:
            StoreError: The collection has another index on `expires_at`.
            StoreUnavailableError: The server does not answer, or refuses the credentials.
        """
        async with self._opening:
            if self._collection is None:
                await self._open()
        return self

    async def close(self) -> None:
        client, self._client, self._collection = self._client, None, None
        self._opening = asyncio.Lock()
        if client is not None:
            await clients.close(client)

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
        condition = self._unchanged(session_id, expected)
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
        times = {"expires_at": expires_at, "last_activity": self.lifetime.now()}
        condition = {"$and": [{"_id": session_id}, self._not_expired()]}
        result = await self._run(collection.update_one(condition, {"$set": times, **_NOTHING}))
        return result.matched_count > 0

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions in the order of their ids, page by page; see `SupportsScan.scan`."""
        collection = self._opened()
        size = limit or PAGE
        cursor = collection.find(_id_range(prefix, after), _HEADER).sort("_id", 1).limit(size)
        found = [
            documents.decode_info(document, store=repr(self)) for document in await self._run(cursor.to_list(None))
        ]
        live = [info for info in found if info.id.startswith(prefix) and not self.lifetime.expired(info.expires_at)]
        return ScanPage(live, found[-1].id if len(found) == size else None)

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
        outcomes: list[SessionConflictError | StoreError | None] = [None] * len(replacements)
        batch = Batch()
        for index, replacement in enumerate(replacements):
            self.lifetime.stamp(replacement.session)
            try:
                document = documents.encode(replacement.session)
            except SessionTooLargeError as error:
                outcomes[index] = error
                continue
            condition = self._unchanged(replacement.session.id, replacement.expected)
            batch.add(index, replacement, ReplaceOne(condition, document, upsert=replacement.expected is None))
        for index, failure in (await self._run_batch(collection, batch)).items():
            outcomes[index] = failure
        return outcomes

    async def destroy_many(self, session_ids: Sequence[str]) -> None:
        collection = self._opened(*session_ids)
        await self._run(collection.delete_many({"_id": {"$in": list(session_ids)}}))

    async def _open(self) -> None:
        client = self._given
        try:
            if self._address is not None:
                client = self._client = await self._run(clients.connect(self._address, self._api, self._timeout))
            collection = clients.collection(cast("Client", client), self._name)
            await self._run(clients.make_ttl_index(collection))
        except BaseException as error:
            client, self._client = self._client, None
            if client is not None:
                await clients.close(client)
            if isinstance(error.__cause__, ConfigurationError):
                raise self._misconfigured(error.__cause__) from error.__cause__
            raise
        self._collection = collection

    def _misconfigured(self, error: ConfigurationError) -> StoreUnavailableError | ConfigError:
        if self._address is not None and self._address.by_dns:
            return StoreUnavailableError(f"{self._where} is not found in the DNS: {error}; is the name right?")
        return ConfigError(f"{self._where} cannot be used: {error}")

    async def _run(self, operation: Awaitable[T]) -> T:
        """Awaits the client within the time limit; its errors become ours, but for those that tell of a conflict."""
        try:
            async with asyncio.timeout(self._limit):
                return await operation
        except (DuplicateKeyError, BulkWriteError):
            raise
        except (PyMongoError, TimeoutError) as error:
            raise translated(error, self._where) from error

    async def _run_batch(self, collection: Collection, batch: Batch) -> dict[int, StoreError]:
        """Sends a batch; returns what failed, by index."""
        if not batch.operations:
            return {}
        try:
            result = await self._run(collection.bulk_write(batch.operations, ordered=False))
            batch.stored = result.matched_count + result.upserted_count
        except BulkWriteError as error:
            batch.take(error, self._where)
        if batch.is_clear():
            return batch.failed
        cursor = collection.find({"_id": {"$in": batch.ids()}}, {"version": 1})
        versions = {document["_id"]: document.get("version") for document in await self._run(cursor.to_list(None))}
        return batch.compare(versions)

    async def _has_arrived(self, session: StoredSession) -> bool:
        """Tells, after a connection broke, whether the session was stored before that."""
        collection = self._opened().with_options(read_concern=ReadConcern("majority"))
        try:
            found = await self._run(collection.find_one({"_id": session.id, "version": session.version}, {"_id": 1}))
        except StoreError:
            return False
        return found is not None

    def _opened(self, *session_ids: str) -> Collection:
        if self._collection is None:
            raise StoreError(f"{self!r} is not open; call `await store.init()` first")
        for session_id in session_ids:
            check_session_id(session_id)
        return self._collection

    def _live(self, document: RawBSONDocument | None, session_id: str) -> StoredSession | None:
        if document is None:
            return None
        session = documents.decode(document, session_id, store=repr(self))
        return None if self.lifetime.expired(session.expires_at) else session

    def _unchanged(self, session_id: str, expected: str | None) -> dict[str, Any]:
        """Returns the condition of a replacement, to be used with `upsert` where nothing is expected.

        What is there and live does not match `expires_at`, so that the upsert inserts it a second time and fails.
        """
        if expected is None:
            return {"_id": session_id, "expires_at": {"$lte": self.lifetime.now()}}
        return {"$and": [{"_id": session_id, "version": expected}, self._not_expired()]}

    def _not_expired(self) -> dict[str, Any]:
        return {"$or": [{"expires_at": None}, {"expires_at": {"$gt": self.lifetime.now()}}]}


def _id_range(prefix: str, after: str | None) -> dict[str, Any]:
    """Returns the condition for ids that begin with `prefix` and come after `after`."""
    bounds = {"$gte": prefix}
    if after is not None:
        bounds["$gt"] = after
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != _LAST:
            following = ord(prefix[index]) + 1
            bounds["$lt"] = prefix[:index] + chr(0xE000 if following == 0xD800 else following)
            break
    return {"_id": bounds}
