"""The store of the driver `mongo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from botsession import (
    ANYTHING,
    ONE_YEAR,
    Clock,
    CorruptSessionError,
    Finding,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    Step,
    StoreError,
    utc_now,
)
from botsession.ids import check_session_id
from botsession.storage import records
from botsession_mongo import documents, listing
from botsession_mongo.clients import Api
from botsession_mongo.commit import Commits
from botsession_mongo.connection import Connection
from botsession_mongo.leases import Leases
from botsession_mongo.quarantine import quarantine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument

    from botsession import Claim, Held, StoredSession
    from botsession.protocol import Anything
    from botsession_mongo.clients import Client
    from botsession_mongo.connection import Collection


class MongoSessionStore:
    """Keeps sessions in a collection of MongoDB, one document each.

    Args:
        url: Where MongoDB is, with the database in its path (by default `botsession`) and with MongoDB's own options;
            `mongodb://localhost:27017/` if it is `None`.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        collection_name: The collection, which should hold nothing else.
        api: Which client to make: `motor`, or `pymongo` for PyMongo's own asyncio client.
        client: A ready `AsyncIOMotorClient` or `AsyncMongoClient` in place of `url`; the store never closes it.
        timeout: Seconds that a call waits for the server.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the present moment, with a time zone.

    Attributes:
        lifetime: How long sessions are kept.

    Raises:
        ConfigError: The URL is not one, or an argument is out of range.
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
        self.lifetime: Lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._connection = Connection(url, client, collection_name, api, timeout)
        self._run = self._connection.run
        self._commits = Commits(self._connection, self.lifetime, self._live)
        self._leases = Leases(self._connection, self._live)

    def __repr__(self) -> str:
        return f"MongoSessionStore({self._connection})"

    async def init(self) -> Self:
        """Connect, and create the TTL index unless it exists; may be called again.

        Raises:
            ConfigError: The client does not accept the options of the URL.
            StoreError: The collection has another index on `expires_at`.
            StoreUnavailableError: The server does not answer, or refuses the credentials.
        """
        await self._connection.open()
        return self

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        await self._run(self._opened().database.command, "ping")

    async def read(self, session_id: str) -> StoredSession | None:
        document = await self._run(self._opened(session_id).find_one, {"_id": session_id})
        return self._live(document, session_id)

    async def write(self, session_id: str, session: StoredSession) -> None:
        await self._replace(session_id, session, ANYTHING)

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        await self._replace(session_id, session, expected)

    async def destroy(self, session_id: str) -> None:
        """Remove what this driver has stored there; see `SessionStore.destroy`.

        Raises:
            CorruptSessionError: The document there belongs to another program, and stays.
        """
        collection = self._opened(session_id)
        [error] = await self._commits.carry_out(collection, [Step.remove(session_id)])
        if error is not None:
            raise error

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        collection = self._opened(session_id)
        now = self.lifetime.now()
        renewed = {"expires_at": documents.deadline(expires_at), "last_activity": now}
        changes = {"$set": renewed, **documents.NOTHING}
        result = await self._run(collection.update_one, documents.live(session_id, now), changes)
        return result.matched_count > 0

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """List sessions in the order of their ids, page by page; see `SupportsScan.scan`."""
        collection = self._opened()
        return await listing.scan(
            self._connection, collection, self.lifetime, prefix, after=after, limit=limit, store=repr(self)
        )

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        cursor = self._opened(*session_ids).find({"_id": {"$in": list(session_ids)}})
        found = {document["_id"]: document for document in await self._run(cursor.to_list, None)}
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id in session_ids:
            try:
                outcomes.append(self._live(found.get(session_id), session_id))
            except CorruptSessionError as error:
                outcomes.append(error)
        return outcomes

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened(*(step.session_id for step in steps))
        stamped: list[StoredSession] = []
        for step in steps:
            if step.session is not None and step.is_stamped:
                stamped.append(step.session)
            elif step.session is not None:
                records.check_restored(step.session)
        self.lifetime.stamp_all(stamped)
        return await self._commits.carry_out(collection, steps)

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        self._opened(*(claim.session_id for claim in claims))
        return await self._leases.claim(claims)

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        self._opened(*holders)
        return await self._leases.renew(holders, ttl)

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        self._opened(*holders)
        await self._leases.release(holders)

    async def quarantine(self, session_id: str) -> str | None:
        return await quarantine(self._connection, self._opened(session_id), session_id, self._live)

    async def diagnose(self) -> list[Finding]:
        from botsession_mongo.diagnosis import diagnose

        return await diagnose(self._connection, self._opened(), self.lifetime)

    def _opened(self, *session_ids: str) -> Collection:
        collection = self._connection.check_open()
        for session_id in session_ids:
            check_session_id(session_id)
        return collection

    async def _replace(self, session_id: str, session: StoredSession, expected: str | Anything | None) -> None:
        collection = self._opened()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        [error] = await self._commits.carry_out(collection, [Step.replace(session, expected)])
        if error is not None:
            raise error

    def _live(self, document: RawBSONDocument | None, session_id: str) -> StoredSession | None:
        """Return the session of a document; `None` if there is none or it has expired."""
        if document is None or documents.is_placeholder(document):
            return None
        session = documents.decode(document, session_id, store=repr(self))
        return None if self.lifetime.expired(session.expires_at) else session
