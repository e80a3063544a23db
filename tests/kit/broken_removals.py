"""Stores whose removals take too much, or give too much back."""

from __future__ import annotations

import asyncio
import math

from kit.reference import Reference
from kit.suites import caught_by

from botsession import CorruptSessionError, SessionConflictError, Step
from botsession.ids import check_session_id
from botsession.storage.leases import Lease


@caught_by("test_a_removal_goes_by_the_exact_version")
class FoldsTheVersionOfARemoval(Reference):
    def destroy_now(self, removal):
        session = self.load(removal.session_id)
        same = session is not None and (removal.expected or "").strip().lower() == session.version.lower()
        super().destroy_now(
            Step.remove(removal.session_id, session.version if same else removal.expected, removal.holder)
        )


@caught_by("test_a_removal_goes_by_the_exact_version")
class MissesWhatShallBeGone(Reference):
    def destroy_now(self, removal):
        if self.load(removal.session_id) is None:
            raise SessionConflictError(removal.session_id)
        super().destroy_now(removal)


@caught_by("test_an_expired_session_is_absent_for_a_removal")
class RemovesTheExpiredByItsVersion(Reference):
    def destroy_now(self, removal):
        raw = self.entries.get(removal.session_id)
        if raw is not None and self.decode(raw, removal.session_id).version == removal.expected:
            removal = Step.remove(removal.session_id, holder=removal.holder)
        super().destroy_now(removal)


@caught_by("test_a_corrupt_session_is_removed_only_where_nothing_is_expected")
class RemovesTheCorruptWhateverIsExpected(Reference):
    def destroy_now(self, removal):
        try:
            super().destroy_now(removal)
        except CorruptSessionError:
            self.remove(removal.session_id)


@caught_by("test_a_hostile_id_is_not_removed")
class RemovesBeforeItChecksTheId(Reference):
    async def _destroy_many(self, removals):
        for removal in removals:
            check_session_id(removal.session_id)
            self.destroy_now(removal)


@caught_by("test_a_removal_beside_a_write_removes_nothing_newer")
class RemovesInTwoSteps(Reference):
    async def _destroy_many(self, removals):
        right = [each.expected is None or self.matches(each.session_id, each.expected) for each in removals]
        await self.pause()
        return await super()._destroy_many([Step.remove(each.session_id) for each in removals if all(right)])


@caught_by("test_the_holder_removes_and_gives_up")
class KeepsTheLeaseOfWhoRemoved(Reference):
    def destroy_now(self, removal):
        super().destroy_now(removal)
        if removal.holder is not None:
            self.leases[removal.session_id] = Lease(removal.holder, math.inf)


@caught_by("test_the_holder_removes_and_gives_up")
class RefusesTheHolderOfTheAbsent(Reference):
    def destroy_now(self, removal):
        if removal.holder is not None and self.load(removal.session_id) is None:
            raise SessionConflictError(removal.session_id)
        super().destroy_now(removal)


@caught_by("test_a_removal_that_is_refused_keeps_session_and_lease")
class GivesUpBeforeItRemoves(Reference):
    def destroy_now(self, removal):
        held = removal.holder is None or self.may_store(removal.session_id, removal.holder)
        self.end_lease(removal.session_id)
        if not held:
            raise SessionConflictError(removal.session_id)
        super().destroy_now(Step.remove(removal.session_id, removal.expected))


@caught_by("test_who_lost_the_lease_removes_nothing", "test_a_removal_that_is_refused_keeps_session_and_lease")
class RemovesForWhoHasNoLease(Reference):
    def destroy_now(self, removal):
        super().destroy_now(Step.remove(removal.session_id, removal.expected))


@caught_by("test_who_lost_the_lease_removes_nothing")
class RemovesForWhoWasSlow(Reference):
    def destroy_now(self, removal):
        slow = not self.lease(removal.session_id).is_held_by_another(removal.holder, self.tick())
        super().destroy_now(Step.remove(removal.session_id, removal.expected, None if slow else removal.holder))


@caught_by("test_a_first_write_beside_destroy_brings_nothing_back")
class StoresFirstWritesWithoutALease(Reference):
    def may_store(self, session_id, holder):
        return self.load(session_id) is None or super().may_store(session_id, holder)


@caught_by("test_a_first_write_beside_destroy_brings_nothing_back")
class LooksAtTheLeaseBefore(Reference):
    async def _replace_many(self, replacements):
        allowed = {each.session.id for each in replacements if self.may_store(each.session.id, each.holder)}
        await asyncio.sleep(0)
        await self.pause()
        for each in replacements:
            if each.session.id in allowed and self.matches(each.session.id, each.expected):
                self.save(each.session)
        return [None if each.session.id in allowed else SessionConflictError(each.session.id) for each in replacements]


@caught_by("test_many_leases_are_renewed_each_for_itself")
class RenewsAllOrNone(Reference):
    async def renew_leases(self, holders, ttl):
        renewed = await super().renew_leases(holders, ttl)
        return [all(renewed)] * len(renewed)


@caught_by("test_many_leases_are_renewed_each_for_itself")
class RenewsInTheOrderOfIds(Reference):
    async def renew_leases(self, holders, ttl):
        return await super().renew_leases(dict(sorted(holders.items())), ttl)


@caught_by("test_many_leases_are_renewed_each_for_itself")
class RenewsForTheFirstHolder(Reference):
    async def renew_leases(self, holders, ttl):
        return await super().renew_leases(dict.fromkeys(holders, next(iter(holders.values()), "")), ttl)


@caught_by("test_many_leases_are_renewed_each_for_itself")
class TakesWhatItRenews(Reference):
    def renew_now(self, session_id, holder, ttl):
        renewed = super().renew_now(session_id, holder, ttl)
        if not renewed:
            self.lease(session_id).claim(holder, self.tick(), ttl=ttl, again=0)
        return renewed
