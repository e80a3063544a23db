"""Stores whose batches do something else than one call after the other."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import defaultdict
from typing import ClassVar

import msgspec
from kit.reference import Reference
from kit.suites import caught_by

from botsession import (
    Lifetime,
    ScanPage,
    SessionConflictError,
    Step,
    StoreError,
)
from botsession.session import Session


class ChangesInABatch(Reference):
    """Stores something else than what is in the batch; a subclass says what."""

    def replace_now(self, replacement):
        super().replace_now(replacement)
        self.change(replacement.session)
        self.put(replacement.session)


@caught_by("test_many_states_come_back_as_they_were")
class ForgetsTheShapeInABatch(Reference):
    def replace_now(self, replacement):
        super().replace_now(replacement)
        self.put(dataclasses.replace(replacement.session, shape=0))


@caught_by("test_commit_goes_by_the_lifetimes_of_session_and_store")
class IgnoresTheLongestLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        session.expires_at = Lifetime(10, clock=self.lifetime.now).deadline(session, self.lifetime.now())


@caught_by("test_commit_goes_by_the_lifetimes_of_session_and_store")
class IgnoresTheSessionsOwnLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        usual = dataclasses.replace(session, expires_in=msgspec.UNSET)
        session.expires_at = self.lifetime.deadline(usual, self.lifetime.now())


@caught_by("test_commit_goes_by_the_lifetimes_of_session_and_store")
class CreatesInEveryBatch(ChangesInABatch):
    def change(self, session):
        session.created_at = session.last_activity


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch")
class StripsIdsInABatch(Reference):
    stripping = False

    def key(self, session_id):
        return session_id.strip() if self.stripping else session_id

    async def _replace_many(self, replacements):
        self.stripping = True
        try:
            return await super()._replace_many(replacements)
        finally:
            self.stripping = False


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch")
class DestroysLookalikesInABatch(Reference):
    async def _destroy_many(self, removals):
        folded = {removal.session_id.casefold() for removal in removals}
        await super()._destroy_many([Step.remove(key) for key in self.entries if key.casefold() in folded])
        return [None] * len(removals)


@caught_by("test_batches_beside_one_another_lose_no_increment")
class ComparesBatchesInTwoSteps(Reference):
    async def _replace_many(self, replacements):
        matching = [self.matches(each.session.id, each.expected) for each in replacements]
        await self.pause()
        for replacement, right in zip(replacements, matching, strict=True):
            if right:
                self.save(replacement.session)
        return [
            None if right else SessionConflictError(each.session.id)
            for each, right in zip(replacements, matching, strict=True)
        ]


class LocksOneByOne(Reference):
    """Locks what is in a batch in the order of its entries, as rows of a table are."""

    places_locked: ClassVar[defaultdict[str, asyncio.Lock]] = defaultdict(asyncio.Lock)

    def __init__(self, place="", *arguments, **options):
        super().__init__(place, *arguments, **options)
        self.place = place

    @contextlib.asynccontextmanager
    async def locked(self, *names):
        async with contextlib.AsyncExitStack() as locks:
            for name in dict.fromkeys(names):
                await locks.enter_async_context(self.places_locked[f"{self.place} {name}"])
                await self.pause()
            yield


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class ReplacesInDeadlock(LocksOneByOne):
    async def _replace_many(self, replacements):
        async with self.locked(*(each.session.id for each in replacements)):
            return await super()._replace_many(replacements)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class LeasesInDeadlock(LocksOneByOne):
    async def lease_many(self, claims):
        async with self.locked(*(claim.session_id for claim in claims)):
            return await super().lease_many(claims)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class DestroysInDeadlock(LocksOneByOne):
    async def _destroy_many(self, removals):
        async with self.locked(*(removal.session_id for removal in removals)):
            return await super()._destroy_many(removals)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class ReleasesInDeadlock(LocksOneByOne):
    async def release_leases(self, holders):
        async with self.locked(*holders):
            await super().release_leases(holders)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class RenewsInDeadlock(LocksOneByOne):
    async def renew_leases(self, holders, ttl):
        async with self.locked(*holders):
            return await super().renew_leases(holders, ttl)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class RestoresInDeadlock(LocksOneByOne):
    async def _restore_many(self, restorations):
        async with self.locked(*(each.session.id for each in restorations)):
            return await super()._restore_many(restorations)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class GivesUpWhereOthersWrote(LocksOneByOne):
    """Tries three times, and then no more."""

    async def _replace_many(self, replacements):
        ids = [each.session.id for each in replacements]
        for _ in range(3):
            if not any(self.places_locked[f"{self.place} {session_id}"].locked() for session_id in ids):
                async with self.locked(*ids):
                    return await super()._replace_many(replacements)
            await asyncio.sleep(0)
        return [StoreError("others wrote at the same time, again and again") for _ in replacements]


@caught_by("test_batches_of_all_kinds_do_not_block_one_another")
class LocksTablesInTwoOrders(LocksOneByOne):
    """Each kind of batch locks in an order of its own, and another kind in another one."""

    async def _replace_many(self, replacements):
        async with self.locked("the table of sessions", "the table of leases"):
            return await super()._replace_many(replacements)

    async def release_leases(self, holders):
        async with self.locked("the table of leases", "the table of sessions"):
            await super().release_leases(holders)


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class ReadsAHundred(Reference):
    async def read_many(self, session_ids):
        return await super().read_many(session_ids[:100]) + [None] * len(session_ids[100:])


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class StoresAThousand(Reference):
    async def _replace_many(self, replacements):
        return await super()._replace_many(replacements[:1000]) + [None] * len(replacements[1000:])


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class DestroysFiveHundred(Reference):
    async def _destroy_many(self, removals):
        return await super()._destroy_many(removals[:500]) + [None] * len(removals[500:])


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class ListsAThousand(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        page = await super().scan(prefix, after=after, limit=limit)
        return ScanPage(page.sessions[:1000], page.next)


@caught_by("test_purge_removes_more_than_five_hundred")
class PurgesFiveHundred(Reference):
    async def purge(self):
        self.check()
        expired = [key for key in self.entries if self.is_expired(key)][:500]
        for key in expired:
            del self.entries[key]
        return len(expired)


@caught_by("test_a_thousand_leases_are_handled_at_once")
class LeasesAHundred(Reference):
    async def lease_many(self, claims):
        return await super().lease_many(claims[:100]) + [None] * len(claims[100:])


@caught_by("test_a_thousand_leases_are_handled_at_once")
class RenewsAHundred(Reference):
    async def renew_leases(self, holders, ttl):
        first = dict(list(holders.items())[:100])
        return await super().renew_leases(first, ttl) + [True] * (len(holders) - len(first))


@caught_by("test_a_thousand_leases_are_handled_at_once")
class ReleasesAHundred(Reference):
    async def release_leases(self, holders):
        await super().release_leases(dict(list(holders.items())[:100]))


@caught_by("test_a_claim_reads_the_session_as_it_is")
class ForgetsTheShapeInAClaim(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        return dataclasses.replace(outcome, shape=0) if isinstance(outcome, Session) else outcome
