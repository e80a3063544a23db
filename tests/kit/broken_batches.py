"""Stores whose batches do something else than one call after the other."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import defaultdict

import msgspec
from kit.reference import Reference
from kit.suites import caught_by

from botsession import Lifetime, Removal, SessionConflictError
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


@caught_by("test_replace_many_goes_by_the_lifetimes_of_session_and_store")
class IgnoresTheLongestLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        session.expires_at = Lifetime(10, clock=self.lifetime.now).deadline(session, self.lifetime.now())


@caught_by("test_replace_many_goes_by_the_lifetimes_of_session_and_store")
class IgnoresTheSessionsOwnLifetimeInABatch(ChangesInABatch):
    def change(self, session):
        usual = dataclasses.replace(session, expires_in=msgspec.UNSET)
        session.expires_at = self.lifetime.deadline(usual, self.lifetime.now())


@caught_by("test_replace_many_goes_by_the_lifetimes_of_session_and_store")
class CreatesInEveryBatch(ChangesInABatch):
    def change(self, session):
        session.created_at = session.last_activity


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch")
class StripsIdsInABatch(Reference):
    stripping = False

    def key(self, session_id):
        return session_id.strip() if self.stripping else session_id

    async def replace_many(self, replacements):
        self.stripping = True
        try:
            return await super().replace_many(replacements)
        finally:
            self.stripping = False


@caught_by("test_ids_that_look_alike_keep_apart_in_a_batch")
class DestroysLookalikesInABatch(Reference):
    async def destroy_many(self, removals):
        folded = {removal.session_id.casefold() for removal in removals}
        await super().destroy_many([Removal(key) for key in self.entries if key.casefold() in folded])
        return [None] * len(removals)


@caught_by("test_batches_beside_one_another_lose_no_increment")
class ComparesBatchesInTwoSteps(Reference):
    async def replace_many(self, replacements):
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

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.locks = defaultdict(asyncio.Lock)

    @contextlib.asynccontextmanager
    async def locked(self, session_ids):
        async with contextlib.AsyncExitStack() as locks:
            for session_id in dict.fromkeys(session_ids):
                await locks.enter_async_context(self.locks[session_id])
                await self.pause()
            yield


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class ReplacesInDeadlock(LocksOneByOne):
    async def replace_many(self, replacements):
        async with self.locked([each.session.id for each in replacements]):
            return await super().replace_many(replacements)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class LeasesInDeadlock(LocksOneByOne):
    async def lease_many(self, claims):
        async with self.locked([claim.session_id for claim in claims]):
            return await super().lease_many(claims)


@caught_by("test_batches_in_opposite_orders_do_not_block_one_another")
class DestroysInDeadlock(LocksOneByOne):
    async def destroy_many(self, removals):
        async with self.locked([removal.session_id for removal in removals]):
            return await super().destroy_many(removals)


@caught_by("test_a_claim_reads_the_session_as_it_is")
class ForgetsTheShapeInAClaim(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        return dataclasses.replace(outcome, shape=0) if isinstance(outcome, Session) else outcome
