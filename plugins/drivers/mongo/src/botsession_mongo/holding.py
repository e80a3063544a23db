"""Leases: taking them together with the session, waiting in line, renewing them and giving them up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pymongo import DeleteOne, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from botsession import Held, StoreError
from botsession.lifetime import new_version
from botsession_mongo import conditions, documents, leases
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument

    from botsession import Claim, Lifetime, StoredSession
    from botsession_mongo.connection import Connection

    Outcome = StoredSession | Held | StoreError | None

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
        """Take leases, or places in their queues; see `SupportsLease.lease_many`.

        Who is cancelled hears of it when the server has answered, so that no lease is taken after it was given up.
        """
        task = asyncio.ensure_future(self._claim_all(claims))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def renew(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """Renew leases; see `SupportsLease.renew_leases`."""
        if not holders:
            return []
        moment = await self._connection.clock.now()
        until = int(moment + ttl * 1000)
        held = {session_id: conditions.held_by(holder, moment) for session_id, holder in holders.items()}
        longer = {session_id: {"lease.until": until, "lease.mark": new_version()} for session_id in holders}
        done = await self._send(
            UpdateOne({**conditions.session(each), **held[each]}, {"$set": longer[each], **NOTHING}) for each in holders
        )
        if done < len(holders):
            end = {"expires_at": leases.removed_at(until)}
            done += await self._send(
                UpdateOne({**conditions.placeholder(each), **held[each]}, {"$set": {**longer[each], **end}, **NOTHING})
                for each in holders
            )
        if done == len(holders):
            return [True] * len(holders)
        found = await self._find(list(holders))
        return [
            each in found and Found(each, found[each], moment).mark == longer[each]["lease.mark"] for each in holders
        ]

    async def release(self, holders: Mapping[str, str]) -> None:
        """Give up leases and places; see `SupportsLease.release_leases`."""
        if not holders:
            return
        self._waiting.difference_update(holders.values())
        given_up = {"$unset": {"lease": ""}, **NOTHING}
        held = {session_id: conditions.lease_of(holder, 0) for session_id, holder in holders.items()}
        done = await self._send(UpdateOne({**conditions.session(each), **held[each]}, given_up) for each in held)
        if done < len(holders):
            done += await self._send(DeleteOne({**conditions.placeholder(each), **held[each]}) for each in held)
        if done < len(holders):
            moment = await self._connection.clock.now()
            left = (Found(*each, moment) for each in (await self._find(list(holders))).items())
            rest = [found.session_id for found in left if _takes_part(found, holders[found.session_id])]
            await asyncio.gather(*(self._give_up(session_id, holders[session_id]) for session_id in rest))

    async def _claim_all(self, claims: Sequence[Claim]) -> list[Outcome]:
        if len(claims) == 1:
            return [await _settled(self._claim(claims[0]))]
        return await self._claim_many(claims) if claims else []

    async def _claim(self, claim: Claim) -> Outcome:
        if claim.holder in self._waiting:
            return await self._stand_in_line(claim)
        moment = await self._connection.clock.now()
        taking = _taking(leases.taken(claim.holder, moment + claim.ttl * 1000))
        try:
            document: RawBSONDocument | None = await self._run(
                self._connection.leases.find_one_and_update,
                conditions.leasable(claim.session_id),
                taking,
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            document = None
        return await self._outcome(claim, document)

    async def _claim_many(self, claims: Sequence[Claim]) -> list[Outcome]:
        moment = await self._connection.clock.now()
        records = {claim.session_id: leases.taken(claim.holder, moment + claim.ttl * 1000) for claim in claims}
        await self._send(
            UpdateOne(conditions.leasable(session_id), _taking(record), upsert=True)
            for session_id, record in records.items()
        )
        found = await self._find(list(records))
        for session_id, record in records.items():
            if session_id in found and Found(session_id, found[session_id], moment).mark != record["mark"]:
                del found[session_id]
        return await asyncio.gather(
            *(_settled(self._outcome(claim, found.get(claim.session_id))) for claim in claims),
        )

    async def _outcome(self, claim: Claim, document: RawBSONDocument | None) -> Outcome:
        """Return the outcome of a claim that found the lease free, and so got this document, or did not."""
        if document is not None:
            session = self._read(document, claim.session_id)
            if session is not None:
                return session
            if "placeholder" in document:
                return None
            # It has expired, and the server may remove it with the lease in it; or NX-27017 forgot the $setOnInsert.
            found = Found(claim.session_id, document, await self._connection.clock.now())
            if found.is_held_by(claim.holder) and await self._put(found) is not None:
                return None
        return await self._stand_in_line(claim)

    async def _stand_in_line(self, claim: Claim) -> Outcome:
        ttl, again = claim.ttl * 1000, claim.again * 1000
        attempts = self._connection.attempts()
        while True:
            found = await self._look(claim.session_id)
            if found.is_foreign:
                return self._read(found.document, claim.session_id)  # raises the error that tells so
            now = found.moment
            is_fresh = any(
                place.holder == claim.holder and place.until >= now + again * FRESH for place in found.lease.queue
            )
            left = found.lease.claim(claim.holder, now, ttl=ttl, again=again)
            document = found.document if left is not None and is_fresh else await self._put(found)
            if document is None:
                await attempts.pause()
                continue
            if left is not None:
                self._waiting.add(claim.holder)
                return Held(left / 1000, found.lease.ahead(claim.holder))
            self._waiting.discard(claim.holder)
            return self._read(document, claim.session_id)

    async def _give_up(self, session_id: str, holder: str) -> None:
        attempts = self._connection.attempts()
        while True:
            found = await self._look(session_id)
            if not _takes_part(found, holder):
                return
            found.lease.release(holder, found.moment)
            if await self._put(found) is not None:
                return
            await attempts.pause()

    async def _look(self, session_id: str) -> Found:
        document = await self._run(self._connection.leases.find_one, {"_id": session_id})
        return Found(session_id, document, await self._connection.clock.now())

    async def _find(self, session_ids: Sequence[str]) -> dict[str, RawBSONDocument]:
        cursor = self._connection.leases.find({"_id": {"$in": session_ids}, **documents.MARK})
        return {document["_id"]: document for document in await self._run(cursor.to_list, None)}

    async def _put(self, found: Found) -> RawBSONDocument | None:
        """Store a changed lease; return what was there or is there now, or `None` if somebody was faster."""
        collection = self._connection.leases
        try:
            if not found.is_absent(self._lifetime):
                change = {"$unset": {"lease": ""}} if found.is_over() else {"$set": {"lease": found.record()}}
                return await self._run(
                    collection.find_one_and_update,
                    found.condition(),
                    {**change, **NOTHING},
                    return_document=ReturnDocument.AFTER,
                )
            if found.is_over():
                return await self._run(collection.find_one_and_delete, found.condition_of_all())
            return await self._run(
                collection.find_one_and_replace,
                found.condition_of_all(),
                found.placeholder(),
                upsert=found.document is None,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return None

    async def _send(self, operations: Iterable[UpdateOne | DeleteOne]) -> int:
        """Send changes; return how many documents they found. One that meets a lease that is not free finds none."""
        sent = await self._connection.send(self._connection.leases, list(operations))
        for failure in sent.failures.values():
            if failure is not None:
                raise failure
        return sent.found


async def _settled(claim: Awaitable[Outcome]) -> Outcome:
    """Await a claim; its error is its outcome."""
    try:
        return await claim
    except StoreError as error:
        return error


def _taking(record: dict[str, Any]) -> dict[str, Any]:
    inserted = {"placeholder": True, "expires_at": leases.removed_at(record["until"])}
    return {"$set": {**documents.MARK, "lease": record}, "$setOnInsert": inserted, **NOTHING}


def _takes_part(found: Found, holder: str) -> bool:
    """Return whether somebody has the lease or waits for it."""
    if found.is_foreign:
        return False
    return holder == found.lease.holder or any(place.holder == holder for place in found.lease.queue)
