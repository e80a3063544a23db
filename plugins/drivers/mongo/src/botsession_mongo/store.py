"""The store of the driver `mongo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from botsession import (
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
from botsession.storage import check_page_size, records
from botsession_mongo import conditions, documents
from botsession_mongo.changes import Change
from botsession_mongo.clients import Api
from botsession_mongo.connection import Connection
from botsession_mongo.holding import NOTHING, Holding
from botsession_mongo.leases import is_placeholder
from botsession_mongo.quarantine import quarantine
from botsession_mongo.storing import Storing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import (
        Claim,
        Held,
        SessionInfo,
        StoredSession,
    )
    from botsession_mongo.clients import Client

    Collection = AsyncCollection[RawBSONDocument]

PAGE: Final = 5000
"""How many sessions a page of a scan holds unless the caller says."""

_HEADER: Final = {
    **dict.fromkeys((*documents.MARK, "version", "expires_at", "last_activity", "created_at", "lease"), 1),
    "size": {"$bsonSize": "$$ROOT"},
}


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
        self._storing = Storing(self._connection, self.lifetime)
        self._holding = Holding(self._connection, self.lifetime, self._live)

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
        await self._run(self._opened().database.command, "ping")

    async def read(self, session_id: str) -> StoredSession | None:
        document = await self._run(self._opened(session_id).find_one, {"_id": session_id})
        return self._live(document, session_id)

    async def write(self, session_id: str, session: StoredSession) -> None:
        collection = self._opened()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        await self._storing.carry_out(collection, Change.write(session))

    async def destroy(self, session_id: str) -> None:
        """Remove what this driver has stored there; see `SessionStore.destroy`.

        Raises:
            CorruptSessionError: The document there is another program's, and stays.
        """
        for error in (await self._storing.destroy(self._opened(session_id), [session_id])).values():
            raise error

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        collection = self._opened()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        change = Change.replacement(Step.replace(session, expected), self.lifetime.now(), 0)
        await self._storing.carry_out(collection, change)

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        self._opened(*(claim.session_id for claim in claims))
        return await self._holding.claim(claims)

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        self._opened(*holders)
        return await self._holding.renew(holders, ttl)

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        self._opened(*holders)
        await self._holding.release(holders)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        collection = self._opened(session_id)
        now = self.lifetime.now()
        changes = {"$set": {"expires_at": documents.deadline(expires_at), "last_activity": now}, **NOTHING}
        result = await self._run(collection.update_one, conditions.live(session_id, now), changes)
        return result.matched_count > 0

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions in the order of their ids, page by page; see `SupportsScan.scan`."""
        collection = self._opened()
        check_page_size(limit)
        size = limit or PAGE
        cursor = collection.find(conditions.listed(prefix, after), _HEADER).sort("_id", 1).limit(size)
        found = await self._run(cursor.to_list, None)
        outcomes = (self._info(document, prefix) for document in found)
        return ScanPage.of(outcomes, str(found[-1]["_id"]) if len(found) == size else None)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        collection = self._opened(*session_ids)
        cursor = collection.find({"_id": {"$in": list(session_ids)}})
        found = {document["_id"]: document for document in await self._run(cursor.to_list, None)}
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id in session_ids:
            try:
                outcomes.append(self._live(found.get(session_id), session_id))
            except CorruptSessionError as error:
                outcomes.append(error)
        return outcomes

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        outcomes: dict[str, SessionConflictError | StoreError | None] = {}
        for carry_out, some in (
            (self._destroy_many, [step for step in steps if step.session is None]),
            (self._replace_many, [step for step in steps if step.session is not None and step.is_stamped]),
            (self._restore_many, [step for step in steps if step.session is not None and not step.is_stamped]),
        ):
            if some or not steps:
                outcomes |= dict(zip([step.session_id for step in some], await carry_out(some), strict=True))
        return [outcomes[step.session_id] for step in steps]

    async def _replace_many(self, replacements: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened()
        for replacement in replacements:
            check_session_id(replacement.session.id)
        now = self.lifetime.stamp_all([replacement.session for replacement in replacements])
        moment = await self._moment(replacements)
        changes = [Change.replacement(entry, now, moment) for entry in replacements]
        return await self._storing.carry_out_many(collection, changes)

    async def _restore_many(self, restorations: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened()
        for restoration in restorations:
            records.check_restored(restoration.session)
        now = self.lifetime.now()
        changes = [Change.restoration(entry, now) for entry in restorations]
        return await self._storing.carry_out_many(collection, changes)

    async def _destroy_many(self, removals: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        collection = self._opened(*(removal.session_id for removal in removals))
        certain = [each.session_id for each in removals if each.expected is None and each.holder is None]
        outcomes: dict[str, StoreError | None] = {**await self._storing.destroy(collection, certain)}
        named = [each for each in removals if each.expected is not None or each.holder is not None]
        now, moment = self.lifetime.now(), await self._moment(named)
        changes = [Change.removal(each, now, moment) for each in named]
        ends = await self._storing.carry_out_many(collection, changes)
        outcomes |= {each.session_id: end for each, end in zip(named, ends, strict=True)}
        return [outcomes.get(each.session_id) for each in removals]

    async def quarantine(self, session_id: str) -> str | None:
        return await quarantine(self._connection, self._opened(session_id), session_id, self._live)

    async def diagnose(self) -> list[Finding]:
        from botsession_mongo.diagnosis import diagnose

        return await diagnose(self._connection, self._opened(), self.lifetime)

    async def _moment(self, entries: Sequence[Step]) -> int:
        """Return the present moment by the server's clock, where an entry needs it since it names a holder."""
        return await self._connection.clock.now() if any(entry.holder is not None for entry in entries) else 0

    def _opened(self, *session_ids: str) -> Collection:
        collection = self._connection.check_open()
        for session_id in session_ids:
            check_session_id(session_id)
        return collection

    def _info(self, document: RawBSONDocument, prefix: str) -> SessionInfo | CorruptSessionError | None:
        try:
            info = documents.decode_info(document, store=repr(self))
        except CorruptSessionError as error:
            return None if is_placeholder(document) else error
        return info if info.id.startswith(prefix) and not self.lifetime.expired(info.expires_at) else None

    def _live(self, document: RawBSONDocument | None, session_id: str) -> StoredSession | None:
        if document is None:
            return None
        try:
            session = documents.decode(document, session_id, store=repr(self))
        except CorruptSessionError:
            if is_placeholder(document):
                return None
            raise
        return None if self.lifetime.expired(session.expires_at) else session
