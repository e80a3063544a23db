"""Stores that grant leases to two holders, to the wrong one or for the wrong time, or whose leases alter sessions."""

from __future__ import annotations

import asyncio
import dataclasses
import math

import msgspec
from kit.reference import Reference, is_replacement
from kit.suites import FileSuite, caught_by

from botsession import Held, Session, SessionConflictError
from botsession.ids import check_session_id
from botsession.storage.leases import Lease
from botsession_file import FileSessionStore


@caught_by("test_a_lease_has_one_holder", "test_two_stores_share_their_leases")
class GivesEveryLease(Reference):
    def claim_now(self, claim):
        return self.load(claim.session_id)


@caught_by("test_one_of_many_gets_the_lease", "test_holders_never_meet")
class ClaimsInTwoSteps(Reference):
    async def lease_many(self, claims):
        self.check(*(claim.session_id for claim in claims))
        free = [claim.session_id for claim in claims if not self.is_held(claim)]
        await self.pause()
        for session_id in free:
            self.leases.pop(session_id, None)
        return [self.claim_now(claim) for claim in claims]

    def is_held(self, claim):
        return self.lease(claim.session_id).is_held_by_another(claim.holder, self.tick())


@caught_by("test_held_reports_when_the_lease_may_be_free")
class TellsTheTimeOfTheClaim(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        return Held(claim.ttl) if isinstance(outcome, Held) else outcome


@caught_by("test_held_reports_when_the_lease_may_be_free", "test_leases_are_granted_in_order_of_arrival")
class TellsMilliseconds(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        return Held(outcome.seconds * 1000) if isinstance(outcome, Held) else outcome


@caught_by("test_leases_are_granted_in_order_of_arrival", "test_a_waiter_that_asks_again_keeps_its_place")
class GivesLeasesToWhoComesFirst(Reference):
    def claim_now(self, claim):
        self.lease(claim.session_id).queue.clear()
        return super().claim_now(claim)


@caught_by("test_leases_are_granted_in_order_of_arrival", "test_storing_keeps_the_waiters")
class GivesLeasesToWhoCameLast(Reference):
    def release_now(self, session_id, holder):
        super().release_now(session_id, holder)
        self.lease(session_id).queue.reverse()


@caught_by("test_leases_are_granted_in_order_of_arrival")
class SendsWhoAsksAgainToTheEnd(Reference):
    def claim_now(self, claim):
        lease = self.lease(claim.session_id)
        if lease.is_held_by_another(claim.holder, self.tick()):
            lease.queue = [place for place in lease.queue if place.holder != claim.holder]
        return super().claim_now(claim)


@caught_by("test_a_waiter_that_asks_again_keeps_its_place")
class KeepsAPlaceAsLongAsItFirstSaid(Reference):
    def claim_now(self, claim):
        places = {place.holder: place.until for place in self.lease(claim.session_id).queue}
        outcome = super().claim_now(claim)
        for place in self.lease(claim.session_id).queue:
            place.until = places.get(place.holder, place.until)
        return outcome


@caught_by("test_a_waiter_that_does_not_ask_again_loses_its_place")
class KeepsPlacesForEver(Reference):
    def claim_now(self, claim):
        return super().claim_now(msgspec.structs.replace(claim, again=math.inf))


@caught_by("test_a_place_in_the_queue_can_be_given_up")
class KeepsThePlaceThatWasGivenUp(Reference):
    def release_now(self, session_id, holder):
        if self.lease(session_id).holder == holder:
            super().release_now(session_id, holder)


@caught_by("test_a_lease_ends_by_itself", "test_a_holder_that_lost_the_lease_stores_nothing")
class HoldsForEver(Reference):
    def claim_now(self, claim):
        return super().claim_now(msgspec.structs.replace(claim, ttl=math.inf))


@caught_by("test_a_lease_that_has_ended_is_free_at_once")
class CountsWholeMinutes(Reference):
    def claim_now(self, claim):
        return super().claim_now(msgspec.structs.replace(claim, ttl=math.ceil(claim.ttl / 60) * 60))


@caught_by("test_a_renewed_lease_is_held_for_longer")
class RenewsNothing(Reference):
    def renew_now(self, session_id, holder, ttl):
        lease = self.lease(session_id)
        return lease.holder == holder and lease.until > self.tick()


@caught_by("test_a_renewed_lease_ends_as_the_renewal_says")
class HoldsForTheLongestTime(Reference):
    def renew_now(self, session_id, holder, ttl):
        return super().renew_now(session_id, holder, max(ttl, self.lease(session_id).until - self.tick()))


@caught_by("test_a_renewed_lease_ends_as_the_renewal_says")
class RenewsWhatIsOver(Reference):
    def renew_now(self, session_id, holder, ttl):
        lease = self.lease(session_id)
        if lease.holder == holder:
            lease.until = self.tick() + ttl
        return lease.holder == holder


@caught_by("test_only_the_holder_renews_a_lease", "test_a_lease_ends_by_itself")
class RenewsForAnybody(Reference):
    def renew_now(self, session_id, holder, ttl):
        return super().renew_now(session_id, self.lease(session_id).holder, ttl)


@caught_by("test_only_the_holder_renews_a_lease")
class TakesTheFreeToRenewIt(Reference):
    def renew_now(self, session_id, holder, ttl):
        lease = self.lease(session_id)
        return lease.is_over(self.tick()) and lease.claim(holder, self.tick(), ttl=ttl, again=0) is None


@caught_by("test_a_lease_has_one_holder")
class ComparesTheBeginningOfHolders(Reference):
    def claim_now(self, claim):
        holder = self.lease(claim.session_id).holder
        return super().claim_now(
            msgspec.structs.replace(claim, holder=holder) if holder and claim.holder.startswith(holder) else claim
        )


@caught_by("test_the_holder_may_ask_again")
class RefusesItsHolder(Reference):
    def claim_now(self, claim):
        lease = self.lease(claim.session_id)
        held = lease.holder == claim.holder and lease.until > self.tick()
        return Held(lease.until - self.tick()) if held else super().claim_now(claim)


@caught_by("test_the_holder_may_ask_again")
class SendsItsHolderToTheEnd(Reference):
    def claim_now(self, claim):
        lease = self.lease(claim.session_id)
        return Held(1) if lease.queue and lease.holder == claim.holder else super().claim_now(claim)


@caught_by("test_nobody_releases_the_lease_of_another", "test_a_place_in_the_queue_can_be_given_up")
class GivesUpTheLeaseOfAnother(Reference):
    def release_now(self, session_id, holder):
        super().release_now(session_id, holder)
        self.lease(session_id).holder = ""


@caught_by("test_many_claims_have_an_outcome_for_each")
class AnswersClaimsInTheOrderOfIds(Reference):
    async def lease_many(self, claims):
        return await super().lease_many(sorted(claims, key=lambda claim: claim.session_id))


@caught_by("test_many_claims_have_an_outcome_for_each")
class ReleasesOnlyTheFirst(Reference):
    async def release_leases(self, holders):
        await super().release_leases(dict(list(holders.items())[:1]))


@caught_by("test_an_empty_batch_of_claims_does_nothing")
class ReleasesAllForNobody(Reference):
    async def release_leases(self, holders):
        await super().release_leases(holders)
        if not holders:
            self.leases.clear()


@caught_by("test_leases_of_ids_that_look_alike_keep_apart")
class FoldsTheCaseOfLeases(Reference):
    def lease_key(self, session_id):
        return session_id.casefold()


@caught_by("test_a_hostile_id_has_no_lease")
class ChecksTheFirstClaimOnly(Reference):
    async def lease_many(self, claims):
        check_session_id(claims[0].session_id)
        return [self.claim_now(claim) for claim in claims]


@caught_by("test_a_hostile_id_has_no_lease")
class ReleasesBeforeItChecks(Reference):
    async def release_leases(self, holders):
        for session_id, holder in holders.items():
            self.check(session_id)
            self.release_now(session_id, holder)


@caught_by("test_leases_of_namespaces_keep_apart")
class SharesLeasesWithItsNeighbour(Reference):
    def __init__(self, place="", *arguments, **options):
        super().__init__(place, *arguments, **options)
        self.leases = self.leased_places.setdefault(place.removesuffix("x"), {})


@caught_by("test_two_stores_share_their_leases")
class KeepsLeasesToItself(Reference):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.leases = {}


@caught_by("test_a_cancelled_claim_can_be_released")
class ClaimsAfterItWasCancelled(Reference):
    async def lease_many(self, claims):
        try:
            return await super().lease_many(claims)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(0.001, self.claim_now, claims[0])
            raise


@caught_by("test_turns_of_several_processes_do_not_meet", suite=FileSuite)
class IsAloneWithItsLeases(FileSessionStore):
    async def lease_many(self, claims):
        found = await self.read_many([claim.session_id for claim in claims])
        await asyncio.sleep(0.1)
        return found

    async def renew_leases(self, holders, ttl):
        return [True] * len(holders)

    async def release_leases(self, holders):
        pass

    async def commit(self, steps):
        return await super().commit([msgspec.structs.replace(step, holder=None) for step in steps])


@caught_by("test_a_claim_reads_the_session_as_it_is")
class RemembersWhatTheFirstClaimRead(Reference):
    def claim_now(self, claim):
        self.seen = getattr(self, "seen", {})
        outcome = super().claim_now(claim)
        return outcome if isinstance(outcome, Held) else self.seen.setdefault(claim.session_id, outcome)


@caught_by("test_a_lease_changes_no_session")
class MarksTheSessionThatIsLeased(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        if isinstance(outcome, Session):
            self.save(dataclasses.replace(outcome))
        return outcome


@caught_by("test_a_lease_creates_no_session", "test_what_is_leased_and_absent_can_be_stored")
class CreatesWhatIsLeased(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        if outcome is None:
            self.save(Session(claim.session_id))
        return outcome


@caught_by("test_a_lease_creates_no_session")
class LeavesASessionBehind(Reference):
    def release_now(self, session_id, holder):
        super().release_now(session_id, holder)
        if self.load(session_id) is None:
            self.save(Session(session_id))


class RemembersWhatWasAbsent(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        self.absent = getattr(self, "absent", set()) | ({claim.session_id} if outcome is None else set())
        return outcome


@caught_by("test_what_is_leased_and_absent_can_be_stored")
class RemovesWhatWasAbsent(RemembersWhatWasAbsent):
    def release_now(self, session_id, holder):
        super().release_now(session_id, holder)
        if session_id in self.absent:
            self.remove(session_id)


@caught_by("test_what_is_leased_and_absent_can_be_stored")
class FindsALeaseWhereNothingMustBe(RemembersWhatWasAbsent):
    async def replace(self, session_id, session, *, expected):
        if expected is None and session_id in self.absent:
            raise SessionConflictError(session_id)
        await super().replace(session_id, session, expected=expected)


@caught_by("test_an_expired_session_is_absent_for_a_lease")
class LeasesTheExpired(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        raw = self.entries.get(claim.session_id)
        return outcome if raw is None or isinstance(outcome, Held) else self.decode(raw, claim.session_id)


@caught_by("test_a_lease_ends_in_real_time")
class GoesByTheClockOfTheTest(Reference):
    def tick(self):
        return self.lifetime.now().timestamp()


@caught_by("test_a_corrupt_session_is_the_outcome_of_its_claim")
class RaisesForTheCorrupt(Reference):
    async def lease_many(self, claims):
        outcomes = await super().lease_many(claims)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes


class ChangesTheHolder(Reference):
    """Changes the holder of a replacement; subclasses define how."""

    def commit_now(self, step):
        super().commit_now(msgspec.structs.replace(step, holder=self.holder(step)) if is_replacement(step) else step)


@caught_by("test_storing_releases_the_lease", "test_a_holder_that_lost_the_lease_stores_nothing")
class IgnoresTheHolder(ChangesTheHolder):
    def holder(self, step):
        return None


@caught_by("test_storing_keeps_the_waiters")
class ForgetsThoseWhoWait(Reference):
    def commit_now(self, step):
        super().commit_now(step)
        if is_replacement(step):
            self.leases.pop(step.session_id, None)


@caught_by("test_a_holder_that_lost_the_lease_stores_nothing")
class TakesTheLeaseOfAnotherAway(Reference):
    def may_store(self, session_id, holder):
        if not super().may_store(session_id, holder):
            self.leases[session_id] = Lease(holder, math.inf)
        return super().may_store(session_id, holder)


@caught_by("test_a_holder_whose_lease_ended_stores_nothing")
class StoresForWhoWasSlow(Reference):
    def may_store(self, session_id, holder):
        return holder is None or not self.lease(session_id).is_held_by_another(holder, self.tick())


@caught_by("test_a_conflict_keeps_the_lease")
class GivesUpBeforeItCompares(Reference):
    def is_as_expected(self, step):
        if step.holder is not None:
            self.release_now(step.session_id, step.holder)
        return super().is_as_expected(step)


@caught_by("test_storing_without_a_holder_compares_only_the_version")
class RefusesWhoHasNoLease(Reference):
    def may_store(self, session_id, holder):
        return super().may_store(session_id, holder or "nobody")


@caught_by("test_storing_without_a_holder_compares_only_the_version")
class GivesUpTheLeaseForWhoHasNone(ChangesTheHolder):
    def holder(self, step):
        return step.holder or self.lease(step.session_id).holder or None


@caught_by("test_many_are_stored_each_by_its_own_lease")
class TakesTheFirstHolderForAll(Reference):
    async def commit(self, steps):
        return await super().commit([msgspec.structs.replace(step, holder=steps[0].holder) for step in steps])


@caught_by("test_destroying_ends_the_lease")
class KeepsTheLeaseOfWhatIsDestroyed(Reference):
    def end_lease(self, session_id):
        pass


@caught_by("test_other_calls_ignore_a_lease")
class ForgetsTheLeaseAtAWrite(Reference):
    async def write(self, session_id, session):
        await super().write(session_id, session)
        self.leases.pop(session_id, None)


@caught_by("test_other_calls_ignore_a_lease")
class PurgesLeases(Reference):
    async def purge(self):
        leases = len(self.leases)
        self.leases.clear()
        return leases + await super().purge()


@caught_by("test_held_reports_when_the_lease_may_be_free", "test_a_renewed_lease_is_held_for_longer")
class RenewsForMilliseconds(Reference):
    def renew_now(self, session_id, holder, ttl):
        return super().renew_now(session_id, holder, ttl / 1000)


@caught_by("test_a_waiter_that_asks_again_keeps_its_place")
class KeepsPlacesForMilliseconds(Reference):
    def claim_now(self, claim):
        return super().claim_now(msgspec.structs.replace(claim, again=claim.again / 1000))


@caught_by("test_held_reports_how_many_are_ahead")
class CountsTheHolderAsWaiting(Reference):
    def claim_now(self, claim):
        outcome = super().claim_now(claim)
        return Held(outcome.seconds, outcome.ahead + 1) if isinstance(outcome, Held) else outcome


@caught_by("test_a_lease_outlasts_the_quarantine_of_its_session")
class QuarantinesTheLeaseToo(Reference):
    def set_aside(self, session_id):
        self.leases.pop(session_id, None)
        return super().set_aside(session_id)


@caught_by("test_an_expired_session_is_absent_for_a_lease")
class PurgesLeasesToo(Reference):
    async def purge(self):
        for key in [key for key in self.entries if self.is_expired(key)]:
            self.leases.pop(key, None)
        return await super().purge()


@caught_by("test_two_stores_share_their_leases")
class EndsAllLeasesAtClose(Reference):
    async def close(self):
        self.leases.clear()
        await super().close()
