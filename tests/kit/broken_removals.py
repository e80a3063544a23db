"""Stores that remove too much, or release too much."""

from __future__ import annotations

import asyncio
import math

from kit.reference import Reference, is_removal
from kit.suites import caught_by

from botsession import CorruptSessionError, SessionConflictError, Step
from botsession.ids import check_session_id
from botsession.storage.leases import Lease


@caught_by("test_a_removal_compares_the_exact_version")
class FoldsTheVersionOfARemoval(Reference):
    def matches(self, session_id, expected):
        session = self.load(session_id)
        return session is not None and (expected or "").strip().lower() == session.version.lower()


@caught_by("test_a_removal_compares_the_exact_version")
class MissesWhatShallBeGone(Reference):
    def is_as_expected(self, step):
        return super().is_as_expected(step) and not (is_removal(step) and self.load(step.session_id) is None)


@caught_by("test_an_expired_session_is_absent_for_a_removal")
class RemovesTheExpiredByItsVersion(Reference):
    def is_as_expected(self, step):
        raw = self.entries.get(step.session_id)
        same = raw is not None and self.decode(raw, step.session_id).version == step.expected
        return (is_removal(step) and same) or super().is_as_expected(step)


@caught_by("test_a_corrupt_session_is_removed_only_if_anything_is_expected")
class RemovesTheCorruptWhateverIsExpected(Reference):
    def is_as_expected(self, step):
        try:
            return super().is_as_expected(step)
        except CorruptSessionError:
            return is_removal(step)


@caught_by("test_a_hostile_id_is_not_removed")
class RemovesBeforeItChecksTheId(Reference):
    async def commit(self, steps):
        for step in steps:
            check_session_id(step.session_id)
            self.commit_now(step)


@caught_by("test_the_holder_removes_and_releases")
class KeepsTheLeaseOfWhoRemoved(Reference):
    def commit_now(self, step):
        super().commit_now(step)
        if is_removal(step) and step.holder is not None:
            self.leases[step.session_id] = Lease(step.holder, math.inf)


@caught_by("test_the_holder_removes_and_releases")
class RefusesTheHolderOfTheAbsent(Reference):
    def is_as_expected(self, step):
        absent = self.load(step.session_id) is None
        return super().is_as_expected(step) and not (is_removal(step) and step.holder is not None and absent)


@caught_by("test_a_removal_that_is_refused_keeps_session_and_lease")
class GivesUpBeforeItRemoves(Reference):
    def commit_now(self, step):
        if is_removal(step):
            held = self.may_store(step.session_id, step.holder)
            self.end_lease(step.session_id)
            if not held:
                raise SessionConflictError(step.session_id)
            step = Step.remove(step.session_id, step.expected)
        super().commit_now(step)


@caught_by(
    "test_a_holder_that_lost_the_lease_removes_nothing", "test_a_removal_that_is_refused_keeps_session_and_lease"
)
class RemovesForWhoHasNoLease(Reference):
    def commit_now(self, step):
        super().commit_now(Step.remove(step.session_id, step.expected) if is_removal(step) else step)


@caught_by("test_a_holder_that_lost_the_lease_removes_nothing")
class RemovesForWhoWasSlow(Reference):
    def commit_now(self, step):
        if is_removal(step) and not self.lease(step.session_id).is_held_by_another(step.holder, self.tick()):
            step = Step.remove(step.session_id, step.expected)
        super().commit_now(step)


@caught_by("test_a_first_write_during_destroy_brings_nothing_back")
class StoresFirstWritesWithoutALease(Reference):
    def may_store(self, session_id, holder):
        return self.load(session_id) is None or super().may_store(session_id, holder)


@caught_by("test_a_first_write_during_destroy_brings_nothing_back")
class LooksAtTheLeaseBefore(Reference):
    async def commit(self, steps):
        held = [step for step in steps if self.may_store(step.session_id, step.holder)]
        await asyncio.sleep(0)
        await self.pause()
        for step in held:
            if self.is_as_expected(step):
                self.carry_out(step)
        return [None if step in held else SessionConflictError(step.session_id) for step in steps]


@caught_by("test_many_leases_are_renewed_independently")
class RenewsAllOrNone(Reference):
    async def renew_leases(self, holders, ttl):
        renewed = await super().renew_leases(holders, ttl)
        return [all(renewed)] * len(renewed)


@caught_by("test_many_leases_are_renewed_independently")
class RenewsInTheOrderOfIds(Reference):
    async def renew_leases(self, holders, ttl):
        return await super().renew_leases(dict(sorted(holders.items())), ttl)


@caught_by("test_many_leases_are_renewed_independently")
class RenewsForTheFirstHolder(Reference):
    async def renew_leases(self, holders, ttl):
        return await super().renew_leases(dict.fromkeys(holders, next(iter(holders.values()), "")), ttl)


@caught_by("test_many_leases_are_renewed_independently")
class TakesWhatItRenews(Reference):
    def renew_now(self, session_id, holder, ttl):
        renewed = super().renew_now(session_id, holder, ttl)
        if not renewed:
            self.lease(session_id).claim(holder, self.tick(), ttl=ttl, again=0)
        return renewed
