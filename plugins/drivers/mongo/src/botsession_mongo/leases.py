"""The leases of sessions, which lie in the documents of the sessions.

    lease: {holder: "4be1...", until: 1795458081582},
    queue: [{holder: "c2a0...", until: 1795458082700}], queue_mark: "9f86..."

Moments are milliseconds since 1970 by the server's clock. `lease` is there while somebody holds it, `queue` while somebody waits. `commit` drops
`lease` in the update that stores the session, whoever waits. A lease that is free is taken, a held one renewed or given up, and a
place in the queue taken, by one update each. The rest is read first, and then stored if nobody has changed lease or queue since.

While there is no session, a placeholder carries them: a document without the fields of a session, which the TTL index removes if its
holder never comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from pymongo import DeleteOne, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from botsession import Held, StoreError, StoreUnavailableError
from botsession.lifetime import new_version
from botsession_mongo.documents import MARK, NOTHING, is_ours, ours
from botsession_mongo.found_lease import FoundLease, free, held, plain, record, removed_at, taking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument

    from botsession import Claim, StoredSession
    from botsession_mongo.connection import Connection
    from botsession_mongo.found_lease import Read

    Outcome = StoredSession | Held | StoreError | None

FRESH: Final = 0.75
"""The part of its time that a place in the queue must have left, or it is renewed: so not every question writes."""


class Leases:
    """The leases of one store.

    Args:
        connection: The store's.
        read: See `Read`.
    """

    def __init__(self, connection: Connection, read: Read) -> None:
        self._connection = connection
        self._run = connection.run
        self._read = read
        self._waiting: set[tuple[str, str]] = set()
        self._contended: set[str] = set()  # sessions whose lease was held by somebody else when it was last asked for

    async def claim(self, claims: Sequence[Claim]) -> list[Outcome]:
        """Take leases, or places in their queues; see `SupportsLease.lease_many`."""
        new = [each for each in claims if each.session_id not in self._contended and not self._is_waiting(each)]
        moment = await self._connection.clock.now()
        taken = await self._take(new[0], moment) if len(claims) == 1 and new else await self._take_many(new, moment)
        outcomes = [self._outcome(claim, taken.get(claim.session_id), moment) for claim in claims]
        return [await _settled(outcomes[0])] if len(outcomes) == 1 else await asyncio.gather(*map(_settled, outcomes))

    async def renew(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """Renew leases; see `SupportsLease.renew_leases`."""
        moment = await self._connection.clock.now()
        until = int(moment + ttl * 1000)
        changes: dict[str, object] = {"lease.until": until}
        held_by = {each: {**ours(each), **held(holder, moment)} for each, holder in holders.items()}
        done = await self._send(
            UpdateOne({**each, "version": {"$exists": True}}, {"$set": changes, **NOTHING}) for each in held_by.values()
        )
        if done < len(holders):
            changes |= {"expires_at": removed_at(until)}
            done += await self._send(
                UpdateOne({**each, "placeholder": True}, {"$set": changes, **NOTHING}) for each in held_by.values()
            )
        if done == len(holders):
            return [True] * len(holders)
        found = await self._find(list(holders))
        leases = {each: plain(document.get("lease")) for each, document in found.items()}
        wanted = {each: {"holder": holder, "until": until} for each, holder in holders.items()}
        return [leases.get(each) == lease for each, lease in wanted.items()]

    async def release(self, holders: Mapping[str, str]) -> None:
        """Give up leases and places; see `SupportsLease.release_leases`."""
        self._waiting.difference_update(holders.items())
        self._contended.difference_update(holders)
        mine = [{**ours(each), "lease.holder": holder} for each, holder in holders.items()]
        given_up = {"$unset": {"lease": ""}, **NOTHING}
        done = await self._send(UpdateOne({**each, "version": {"$exists": True}}, given_up) for each in mine)
        if done < len(holders):
            done += await self._send(DeleteOne({**each, "placeholder": True, "queue": None}) for each in mine)
        if done < len(holders):
            found = [await self._found(*each) for each in (await self._find(list(holders))).items()]
            left = [each.session_id for each in found if each.concerns(holders[each.session_id])]
            await asyncio.gather(*(self._give_up(each, holders[each]) for each in left))

    def _is_waiting(self, claim: Claim) -> bool:
        return (claim.session_id, claim.holder) in self._waiting

    async def _take(self, claim: Claim, moment: int) -> dict[str, RawBSONDocument]:
        """Take a lease if it is free and nobody waits for it; return its document, if so."""
        with contextlib.suppress(DuplicateKeyError):
            document = await self._run(
                self._connection.leases.find_one_and_update,
                free(claim.session_id),
                taking(claim, moment),
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            return {} if document is None else {claim.session_id: document}
        return {}

    async def _take_many(self, claims: Sequence[Claim], moment: int) -> dict[str, RawBSONDocument]:
        """Take those leases that are free and for which nobody waits; return the documents of these."""
        if not claims:
            return {}
        await self._send(UpdateOne(free(each.session_id), taking(each, moment), upsert=True) for each in claims)
        found = await self._find([claim.session_id for claim in claims])
        mine = {claim.session_id: record(claim, moment) for claim in claims}
        return {each: document for each, document in found.items() if plain(document.get("lease")) == mine[each]}

    async def _outcome(self, claim: Claim, document: RawBSONDocument | None, moment: int) -> Outcome:
        """Return the outcome of a claim: with the document that it got with the lease, if it was free."""
        if document is not None:
            session = self._read(document, claim.session_id)
            if session is not None:
                return session
            if "placeholder" in document:
                return None
            # The session has expired, and the server may remove it with the lease in it; or NX-27017 ignored the $setOnInsert.
            found = await self._found(claim.session_id, document)
            if found.lease.is_held_by(claim.holder, found.moment) and await self._put(found) is not None:
                return None
        elif not self._is_waiting(claim):
            document = await self._enqueue(claim, moment)
        return await self._ask_again(claim, document)

    async def _enqueue(self, claim: Claim, moment: int) -> RawBSONDocument | None:
        """Take the last place in the queue; return the document, or `None` if the lease or a place is the holder's own."""
        condition = {"lease.holder": {"$ne": claim.holder}, "queue.holder": {"$ne": claim.holder}}
        place = {"holder": claim.holder, "until": int(moment + claim.again * 1000)}
        try:
            return await self._run(
                self._connection.leases.find_one_and_update,
                {**ours(claim.session_id), **condition},
                {"$push": {"queue": place}, "$set": {"queue_mark": new_version()}, **NOTHING},
                return_document=ReturnDocument.AFTER,
            )
        except StoreUnavailableError:
            raise
        except StoreError:
            return None  # what is there is not a queue

    async def _ask_again(self, claim: Claim, document: RawBSONDocument | None) -> Outcome:
        """Take the lease if it is free and the claim the first one in the queue, or else renew its place there.

        Args:
            claim: The claim.
            document: What is stored there, if that was just read.
        """
        ttl, again = claim.ttl * 1000, claim.again * 1000
        attempts = self._connection.attempts()
        while True:
            found = await (
                self._look(claim.session_id) if document is None else self._found(claim.session_id, document)
            )
            if found.document is not None and not is_ours(found.document):
                return self._read(found.document, claim.session_id)  # raises the error that says so
            fresh = [place.holder for place in found.lease.queue if place.until >= found.moment + again * FRESH]
            left = found.lease.claim(claim.holder, found.moment, ttl=ttl, again=again)
            is_known = left is not None and claim.holder in fresh
            document = found.document if is_known else await self._put(found)
            if document is None:
                await attempts.pause()
            elif left is not None:
                self._waiting.add((claim.session_id, claim.holder))
                self._contended.add(claim.session_id)
                return Held(left / 1000, found.lease.ahead(claim.holder))
            else:
                self._waiting.discard((claim.session_id, claim.holder))
                if not found.lease.queue:
                    self._contended.discard(claim.session_id)
                return self._read(document, claim.session_id)

    async def _give_up(self, session_id: str, holder: str) -> None:
        attempts = self._connection.attempts()
        while (found := await self._look(session_id)).concerns(holder):
            found.lease.release(holder, found.moment)
            if await self._put(found) is not None:
                return
            await attempts.pause()

    async def _look(self, session_id: str) -> FoundLease:
        return await self._found(session_id, await self._run(self._connection.leases.find_one, {"_id": session_id}))

    async def _found(self, session_id: str, document: RawBSONDocument | None) -> FoundLease:
        try:
            is_absent = self._read(document, session_id) is None
        except StoreError:
            is_absent = False
        return FoundLease(session_id, document, await self._connection.clock.now(), is_absent=is_absent)

    async def _find(self, session_ids: Sequence[str]) -> dict[str, RawBSONDocument]:
        cursor = self._connection.leases.find({"_id": {"$in": session_ids}, **MARK})
        return {document["_id"]: document for document in await self._run(cursor.to_list, None)}

    async def _put(self, found: FoundLease) -> RawBSONDocument | None:
        """Store a changed lease; return what was there or is there now, or `None` if somebody was faster."""
        collection, condition = self._connection.leases, found.condition()
        if not found.is_absent:
            fields = found.fields()
            gone = dict.fromkeys({"lease", "queue", "queue_mark"} - fields.keys(), "")
            change = {**({"$set": fields} if fields else {}), **({"$unset": gone} if gone else {}), **NOTHING}
            return await self._run(
                collection.find_one_and_update, condition, change, return_document=ReturnDocument.AFTER
            )
        if found.is_over():
            return await self._run(collection.find_one_and_delete, condition)
        with contextlib.suppress(DuplicateKeyError):
            return await self._run(
                collection.find_one_and_replace,
                condition,
                found.placeholder(),
                upsert=found.document is None,
                return_document=ReturnDocument.AFTER,
            )
        return None

    async def _send(self, operations: Iterable[UpdateOne | DeleteOne]) -> int:
        """Send changes; return how many documents they found. A claim for a lease that is not free finds none."""
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
