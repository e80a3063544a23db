"""Leases: taking them together with the session, waiting in line, renewing them and giving them up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pymongo import DeleteOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from botsession import Held, StoreError
from botsession_mongo import conditions, leases
from botsession_mongo.errors import is_taken, translated
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument

    from botsession import Claim, Lifetime, StoredSession
    from botsession_mongo.connection import Connection

    Outcome = StoredSession | Held | StoreError | None

ATTEMPTS: Final = 100
"""How often a change of a lease is tried again because somebody else has changed it meanwhile."""

FRESH: Final = 0.75
"""The part of its time that a place in the queue has left while it is not renewed, so that not every question writes."""

NOTHING: Final = {"$pull": {"_": 0}}
"""Changes nothing, since no document has that field; without it NX-27017 would store dates as text."""


class Holding:
    """The leases of one store.

    A lease for which nobody waits is taken, and given up, by one command that says under which condition; otherwise it is
    read, changed here, and stored if it is still as it was read.

    Args:
        connection: The store's.
        lifetime: The store's.
        read: Returns the session of a document; `None` where it is none, or has expired.
    """

    def __init__(
        self,
        connection: Connection,
        lifetime: Lifetime,
        read: Callable[[RawBSONDocument | None, str], StoredSession | None],
    ) -> None:
        self._connection = connection
        self._run = connection.run
        self._lifetime = lifetime
        self._read = read
        self._waiting: set[str] = set()

    async def claim(self, claims: Sequence[Claim]) -> list[Outcome]:
        """Takes leases, or places in their queues; see `SupportsLease.lease_many`.

        Who is cancelled hears of it when the server has answered, so that no lease is taken after it was given up.
        """
        task = asyncio.ensure_future(self._claim_all(claims))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def renew(self, session_id: str, holder: str, ttl: float) -> bool:
        """Renews a lease; see `SupportsLease.renew_lease`."""
        for _ in range(ATTEMPTS):
            found = await self._look(session_id)
            if not found.lease.renew(holder, leases.now(), ttl=ttl * 1000):
                return False
            if await self._put(found) is not None:
                return True
        raise changed_too_often(session_id)

    async def release(self, holders: Mapping[str, str]) -> None:
        """Gives up leases and places; see `SupportsLease.release_leases`."""
        if not holders:
            return
        self._waiting.difference_update(holders.values())
        given_up = {"$unset": {"lease": ""}, **NOTHING}
        sessions = [UpdateOne(conditions.session_of(*entry), given_up) for entry in holders.items()]
        done = await self._send(sessions)
        if done < len(holders):
            placeholders = [DeleteOne(conditions.placeholder_of(*entry)) for entry in holders.items()]
            done += await self._send(placeholders)
        if done < len(holders):
            for session_id, document in (await self._find(list(holders))).items():
                if _takes_part(Found(session_id, document), holders[session_id]):
                    await self._give_up(session_id, holders[session_id])

    async def _claim_all(self, claims: Sequence[Claim]) -> list[Outcome]:
        if len(claims) == 1:
            return [await _settled(self._claim(claims[0]))]
        return await self._claim_many(claims) if claims else []

    async def _claim(self, claim: Claim) -> Outcome:
        if claim.holder in self._waiting:
            return await self._stand_in_line(claim)
        condition = conditions.leasable(claim.session_id, leases.now())
        taking = _taking(leases.taken(claim.holder, claim.ttl))
        try:
            document: RawBSONDocument | None = await self._run(
                self._connection.leases.find_one_and_update(
                    condition, taking, upsert=True, return_document=ReturnDocument.AFTER
                )
            )
        except DuplicateKeyError:
            document = None
        return await self._outcome(claim, document)

    async def _claim_many(self, claims: Sequence[Claim]) -> list[Outcome]:
        records = {claim.session_id: leases.taken(claim.holder, claim.ttl) for claim in claims}
        now = leases.now()
        await self._send(
            [
                UpdateOne(conditions.leasable(session_id, now), _taking(record), upsert=True)
                for session_id, record in records.items()
            ]
        )
        found = await self._find(list(records))
        for session_id, record in records.items():
            if session_id in found and Found(session_id, found[session_id]).mark != record["mark"]:
                del found[session_id]
        return await asyncio.gather(
            *(_settled(self._outcome(claim, found.get(claim.session_id))) for claim in claims),
        )

    async def _outcome(self, claim: Claim, document: RawBSONDocument | None) -> Outcome:
        """Returns the outcome of a claim that found the lease free, and so got this document, or did not."""
        if document is not None:
            session = self._read(document, claim.session_id)
            if session is not None:
                return session
            if leases.is_placeholder(document) and "expires_at" in document:
                return None
            # It has expired, and the server may remove it with the lease in it; or NX-27017 forgot the $setOnInsert.
            if await self._put(Found(claim.session_id, document)) is not None:
                return None
        return await self._stand_in_line(claim)

    async def _stand_in_line(self, claim: Claim) -> Outcome:
        ttl, again = claim.ttl * 1000, claim.again * 1000
        for _ in range(ATTEMPTS):
            found, now = await self._look(claim.session_id), leases.now()
            is_fresh = any(
                place.holder == claim.holder and place.until >= now + again * FRESH for place in found.lease.queue
            )
            left = found.lease.claim(claim.holder, now, ttl=ttl, again=again)
            document = found.document if left is not None and is_fresh else await self._put(found)
            if document is None:
                continue
            if left is not None:
                self._waiting.add(claim.holder)
                return Held(left / 1000, found.lease.ahead(claim.holder))
            self._waiting.discard(claim.holder)
            return self._read(document, claim.session_id)
        raise changed_too_often(claim.session_id)

    async def _give_up(self, session_id: str, holder: str) -> None:
        for _ in range(ATTEMPTS):
            found = await self._look(session_id)
            if not _takes_part(found, holder):
                return
            found.lease.release(holder, leases.now())
            if await self._put(found) is not None:
                return
        raise changed_too_often(session_id)

    async def _look(self, session_id: str) -> Found:
        return Found(session_id, await self._run(self._connection.leases.find_one({"_id": session_id})))

    async def _find(self, session_ids: Sequence[str]) -> dict[str, RawBSONDocument]:
        cursor = self._connection.leases.find({"_id": {"$in": session_ids}})
        return {document["_id"]: document for document in await self._run(cursor.to_list(None))}

    async def _put(self, found: Found) -> RawBSONDocument | None:
        """Stores a changed lease; returns what was there or is there now, or `None` if somebody was faster."""
        collection = self._connection.leases
        operation: Awaitable[RawBSONDocument | None]
        if not found.is_absent(self._lifetime):
            change = {"$unset": {"lease": ""}} if found.is_over() else {"$set": {"lease": found.record()}}
            operation = collection.find_one_and_update(
                found.condition(), {**change, **NOTHING}, return_document=ReturnDocument.AFTER
            )
        elif found.is_over():
            operation = collection.find_one_and_delete(found.condition_of_absence())
        else:
            operation = collection.find_one_and_replace(
                found.condition_of_absence(),
                found.placeholder(),
                upsert=found.document is None,
                return_document=ReturnDocument.AFTER,
            )
        try:
            return await self._run(operation)
        except DuplicateKeyError:
            return None

    async def _send(self, operations: Sequence[UpdateOne | DeleteOne]) -> int:
        """Sends changes; returns how many documents they found, where none of them met a lease that is not free."""
        try:
            result = await self._run(self._connection.leases.bulk_write(operations, ordered=False))
        except BulkWriteError as error:
            if all(is_taken(failure["code"], failure) for failure in error.details["writeErrors"]):
                return 0
            raise translated(error, self._connection.where) from error
        return result.matched_count + result.deleted_count


def changed_too_often(session_id: str) -> StoreError:
    """Returns the error that the lease was another one at each attempt."""
    return StoreError(f"the lease of session {session_id!r} was changed {ATTEMPTS} times meanwhile; try again")


async def _settled(claim: Awaitable[Outcome]) -> Outcome:
    """Awaits a claim; its error is its outcome."""
    try:
        return await claim
    except StoreError as error:
        return error


def _taking(record: dict[str, Any]) -> dict[str, Any]:
    return {"$set": {"lease": record}, "$setOnInsert": {"expires_at": leases.ends_at(record)}, **NOTHING}


def _takes_part(found: Found, holder: str) -> bool:
    """Tells whether somebody has the lease or waits for it."""
    return holder == found.lease.holder or any(place.holder == holder for place in found.lease.queue)
