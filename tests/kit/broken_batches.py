"""Stores whose batches do not match the same calls made one after another."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections import defaultdict
from typing import ClassVar

import msgspec
from kit.reference import Reference, is_removal, is_replacement, is_restoration
from kit.suites import caught_by

from botsession import (
    Lifetime,
    ScanPage,
    SessionConflictError,
    StoreError,
)
from botsession.session import Session


class ChangesInABatch(Reference):
    """Stores something other than the content of the batch; subclasses define what."""

    def carry_out(self, step):
        super().carry_out(step)
        if is_replacement(step):
            self.change(step.session)
            self.put(step.session)


@caught_by("test_many_states_come_back_as_they_were")
class ForgetsTheShapeInABatch(Reference):
    def carry_out(self, step):
        super().carry_out(step)
        if is_replacement(step):
            self.put(dataclasses.replace(step.session, shape=0))


@caught_by("test_commit_uses_the_lifetimes_of_session_and_store")
class IgnoresTheLongestLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        session.expires_at = Lifetime(10, clock=self.lifetime.now).deadline(session, self.lifetime.now())


@caught_by("test_commit_uses_the_lifetimes_of_session_and_store")
class IgnoresTheSessionsOwnLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        usual = dataclasses.replace(session, expires_in=msgspec.UNSET)
        session.expires_at = self.lifetime.deadline(usual, self.lifetime.now())


@caught_by("test_commit_uses_the_lifetimes_of_session_and_store")
class CreatesInEveryBatch(ChangesInABatch):
    def change(self, session):
        session.created_at = session.last_activity


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch", "test_ids_that_look_alike_keep_apart_when_restored")
class StripsIdsInABatch(Reference):
    stripping = False

    def key(self, session_id):
        return session_id.strip() if self.stripping else session_id

    async def commit(self, steps):
        self.stripping = True
        try:
            return await super().commit(steps)
        finally:
            self.stripping = False


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch")
class RemovesLookalikesInABatch(Reference):
    def remove(self, session_id):
        super().remove(session_id)
        for key in [key for key in self.entries if key.casefold() == session_id.casefold()]:
            del self.entries[key]


@caught_by(
    "test_concurrent_batches_lose_no_increment",
    "test_restore_during_write_undoes_nothing",
    "test_a_removal_during_a_write_removes_nothing_newer",
)
class ComparesBatchesInTwoSteps(Reference):
    steps = 3

    async def commit(self, steps):
        right = [self.is_as_expected(step) for step in steps]
        for _ in range(self.steps):
            await self.pause()
        for step in itertools.compress(steps, right):
            self.carry_out(step)
        return [
            None if each else SessionConflictError(step.session_id) for step, each in zip(steps, right, strict=True)
        ]


class LocksOneByOne(Reference):
    """Locks a batch entry by entry in its own order, as a database locks rows."""

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


class CommitsInDeadlock(LocksOneByOne):
    """Locks for one kind of step; subclasses define which."""

    async def commit(self, steps):
        async with self.locked(*(step.session_id for step in filter(self.is_locked, steps))):
            return await super().commit(steps)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class ReplacesInDeadlock(CommitsInDeadlock):
    is_locked = staticmethod(is_replacement)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class RestoresInDeadlock(CommitsInDeadlock):
    is_locked = staticmethod(is_restoration)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class RemovesInDeadlock(CommitsInDeadlock):
    is_locked = staticmethod(is_removal)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class LeasesInDeadlock(LocksOneByOne):
    async def lease_many(self, claims):
        async with self.locked(*(claim.session_id for claim in claims)):
            return await super().lease_many(claims)


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
class GivesUpWhereOthersWrote(LocksOneByOne):
    """Gives up after three attempts."""

    async def commit(self, steps):
        ids = [step.session_id for step in steps]
        for _ in range(3):
            if not any(self.places_locked[f"{self.place} {session_id}"].locked() for session_id in ids):
                async with self.locked(*ids):
                    return await super().commit(steps)
            await asyncio.sleep(0)
        return [StoreError("others wrote at the same time, again and again") for _ in steps]


@caught_by("test_batches_of_all_kinds_do_not_block_one_another")
class LocksTablesInTwoOrders(LocksOneByOne):
    """Locks in a different order for each kind of batch."""

    async def commit(self, steps):
        async with self.locked("the table of sessions", "the table of leases"):
            return await super().commit(steps)

    async def release_leases(self, holders):
        async with self.locked("the table of leases", "the table of sessions"):
            await super().release_leases(holders)


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class ReadsAHundred(Reference):
    async def read_many(self, session_ids):
        return await super().read_many(session_ids[:100]) + [None] * len(session_ids[100:])


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class CommitsAThousand(Reference):
    async def commit(self, steps):
        return await super().commit(steps[:1000]) + [None] * len(steps[1000:])


@caught_by("test_a_thousand_sessions_are_handled_at_once")
class RemovesFiveHundred(Reference):
    async def commit(self, steps):
        removals = [step for step in steps if is_removal(step)][:500]
        outcomes = await super().commit([step for step in steps if not is_removal(step)] + removals)
        return outcomes + [None] * (len(steps) - len(outcomes))


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
