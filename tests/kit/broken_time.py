"""Stores that measure time incorrectly, or that find expired sessions."""

from __future__ import annotations

import dataclasses
from datetime import timedelta, timezone

from kit.reference import Reference, is_restoration
from kit.suites import caught_by

from botsession import Lifetime, ScanPage, StoreError
from botsession.session import Session


class Miscounting(Reference):
    """A store that miscounts the minutes of its lifetime; a subclass defines how."""

    def make_lifetime(self, expires_in, max_lifetime, clock):
        expires_in = self.miscount(expires_in)
        return Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)


@caught_by("test_a_session_ends_after_so_many_minutes", "test_any_order_of_calls_gives_what_a_model_gives")
class TakesMinutesForSeconds(Miscounting):
    def miscount(self, expires_in):
        return timedelta(seconds=expires_in) if isinstance(expires_in, int) else expires_in


@caught_by("test_fractions_of_a_minute_count")
class CutsFractions(Miscounting):
    def miscount(self, expires_in):
        return max(1, int(expires_in)) if isinstance(expires_in, float) else expires_in


@caught_by("test_without_a_lifetime_a_session_never_ends")
class TakesNeverForAYear(Miscounting):
    def miscount(self, expires_in):
        return 525_600 if expires_in is None else expires_in


@caught_by("test_a_session_lives_for_a_year_by_default")
class KeepsForADay(Miscounting):
    def miscount(self, expires_in):
        return 1440 if expires_in == 525_600 else expires_in


@caught_by("test_an_invalid_lifetime_is_refused")
class TakesZeroForNever(Miscounting):
    def miscount(self, expires_in):
        return expires_in or None


@caught_by("test_wall_clock")
class RoundsUpToSeconds(Miscounting):
    def miscount(self, expires_in):
        return timedelta(seconds=5) if isinstance(expires_in, timedelta) and expires_in.seconds < 5 else expires_in


@caught_by("test_a_sessions_own_lifetime_takes_precedence")
class IgnoresTheSessionsOwnLifetime(Reference):
    def stamp(self, session):
        super().stamp(session)
        session.expires_at = self.lifetime.deadline(Session(session.id), self.lifetime.now())


@caught_by("test_no_activity_outlives_the_longest_lifetime", "test_the_longest_lifetime_holds_alone")
class IgnoresTheLongestLifetime(Reference):
    def make_lifetime(self, expires_in, max_lifetime, clock):
        return Lifetime(expires_in, clock=clock)


@caught_by("test_a_write_restarts_the_countdown", "test_a_write_may_take_the_end_away")
class KeepsTheFirstDeadline(Reference):
    def stamp(self, session):
        first = session.expires_at
        super().stamp(session)
        session.expires_at = first or session.expires_at


@caught_by("test_a_read_does_not_renew")
class RenewsWhenItReads(Reference):
    async def read(self, session_id):
        session = await super().read(session_id)
        if session is not None:
            self.put(dataclasses.replace(session, expires_at=self.lifetime.deadline(session, self.lifetime.now())))
        return session


@caught_by("test_a_write_may_bring_the_end_nearer", "test_a_write_after_a_touch_sets_its_own_deadline")
class KeepsTheLaterDeadline(Reference):
    def save(self, session):
        old = self.load(session.id)
        self.stamp(session)
        if old is not None and (old.expires_at is None or (session.expires_at and old.expires_at > session.expires_at)):
            session.expires_at = old.expires_at
        self.put(session)


@caught_by("test_an_expired_session_can_be_destroyed")
class CannotDestroyTheExpired(Reference):
    def remove(self, session_id):
        if session_id in self.entries and self.load(session_id) is None:
            raise StoreError("it has expired")
        super().remove(session_id)


@caught_by("test_an_expired_session_can_be_written_again")
class KeepsTheBirthdayOfALeftover(Reference):
    def save(self, session):
        leftover = self.entries.get(session.id)
        self.stamp(session)
        if leftover:
            session.created_at = self.decode(leftover, session.id).created_at
        self.put(session)


class Forgiving(Reference):
    """Finds expired sessions; subclasses define when."""

    def find_expired(self, session_id):
        raw = self.entries.get(session_id)
        return None if raw is None else self.decode(raw, session_id)


@caught_by("test_a_session_ends_after_so_many_minutes", "test_a_write_restarts_the_countdown")
class ReadsTheExpired(Forgiving):
    async def read(self, session_id):
        await super().read(session_id)
        return self.find_expired(session_id)


@caught_by("test_an_expired_session_is_absent_for_read_many")
class ReadsTheExpiredInABatch(Forgiving):
    async def read_many(self, session_ids):
        await super().read_many(session_ids)
        return [self.find_expired(session_id) for session_id in session_ids]


@caught_by("test_an_expired_session_is_absent_for_touch")
class RevivesAtATouch(Forgiving):
    async def touch(self, session_id, expires_at):
        session = self.find_expired(session_id)
        if session is not None:
            self.put(dataclasses.replace(session, expires_at=None))
        return await super().touch(session_id, expires_at)


@caught_by("test_an_expired_session_is_absent_for_scan")
class ListsTheExpired(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        self.lifetime, lifetime = Lifetime(clock=lambda: self.started), self.lifetime
        self.started = lifetime.now() - timedelta(days=1)
        try:
            return await super().scan(prefix, after=after, limit=limit)
        finally:
            self.lifetime = lifetime


@caught_by("test_purge_removes_what_has_expired_and_nothing_else")
class MiscountsWhatItPurges(Reference):
    async def purge(self):
        await super().purge()
        return len(self.entries)


@caught_by("test_purge_removes_what_has_expired_and_nothing_else")
class PurgesTheLiving(Reference):
    async def purge(self):
        count = await super().purge()
        if count:
            self.entries.clear()
        return count


class Touching(Reference):
    """Changes the deadline or last activity of a touch."""

    def deadline(self, session, expires_at):
        return expires_at

    def activity(self, session):
        return self.lifetime.now()

    async def touch(self, session_id, expires_at):
        before = self.load(session_id)
        if before is None or not await super().touch(session_id, expires_at):
            return False
        session = self.load(session_id) or before
        session.expires_at, session.last_activity = self.deadline(before, expires_at), self.activity(before)
        self.put(session)
        return True


@caught_by("test_a_touch_moves_the_deadline", "test_a_touch_may_give_a_deadline", "test_a_scan_sees_what_a_touch_moved")
class MovesNoDeadline(Touching):
    def deadline(self, session, expires_at):
        return session.expires_at


@caught_by("test_a_touch_renews_the_last_activity", "test_a_scan_sees_what_a_touch_moved")
class ForgetsTheActivity(Touching):
    def activity(self, session):
        return session.last_activity


@caught_by("test_a_touch_may_take_the_deadline_away")
class TakesNoDeadlineForNoChange(Touching):
    def deadline(self, session, expires_at):
        return expires_at or session.expires_at


@caught_by("test_a_touch_may_bring_the_deadline_nearer", "test_a_touch_with_a_deadline_in_the_past_ends_the_session")
class OnlyPutsOff(Touching):
    def deadline(self, session, expires_at):
        return expires_at and session.expires_at and max(expires_at, session.expires_at)


@caught_by("test_a_touch_creates_nothing")
class CreatesAtATouch(Reference):
    async def touch(self, session_id, expires_at):
        if self.load(session_id) is None:
            self.save(Session(session_id))
        return await super().touch(session_id, expires_at)


@caught_by("test_a_touch_creates_nothing", "test_an_expired_session_is_absent_for_touch")
class AlwaysSaysTouched(Reference):
    async def touch(self, session_id, expires_at):
        await super().touch(session_id, expires_at)
        return True


@caught_by("test_a_touch_keeps_version_and_body")
class ForgetsTheUserAtATouch(Reference):
    async def touch(self, session_id, expires_at):
        found = await super().touch(session_id, expires_at)
        if found:
            self.put(dataclasses.replace(self.load(session_id), user=None))
        return found


@caught_by("test_a_deadline_is_kept_to_the_millisecond")
class CutsDeadlinesToSeconds(Reference):
    def load(self, session_id):
        session = super().load(session_id)
        ends = session and session.expires_at and session.expires_at.replace(microsecond=0)
        return None if self.lifetime.expired(ends) else session


@caught_by("test_a_deadline_is_kept_to_the_millisecond")
class RestoresToTheSecond(Reference):
    def carry_out(self, step):
        super().carry_out(step)
        if is_restoration(step):
            ends = step.session.expires_at and step.session.expires_at.replace(microsecond=0)
            self.put(dataclasses.replace(step.session, expires_at=ends))


@caught_by("test_a_scan_continues_past_expired_sessions")
class TakesAnEmptyPageForTheLast(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        page = await super().scan(prefix, after=after, limit=limit)
        return page if page.sessions else ScanPage([], None)


@caught_by("test_a_scan_continues_past_expired_sessions")
class TakesAShortPageForTheLast(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        page = await super().scan(prefix, after=after, limit=limit)
        return ScanPage(page.sessions, page.next if len(page.sessions) == limit else None)


@caught_by("test_purge_stays_in_its_namespace")
class PurgesItsNeighbourToo(Reference):
    def __init__(self, place="", *arguments, **options):
        super().__init__(place, *arguments, **options)
        self.neighbour = self.places.setdefault(f"{place}x", {})

    async def purge(self):
        self.neighbour.clear()
        return await super().purge()


@caught_by("test_purge_during_write_removes_nothing_living")
class PurgesInTwoSteps(Reference):
    async def purge(self):
        self.check()
        expired = [key for key in self.entries if self.is_expired(key)]
        for _ in range(3):
            await self.pause()
        return len([self.entries.pop(key, None) for key in expired])


@caught_by("test_ids_that_look_alike_keep_apart_for_touch")
class TouchesLookalikes(Reference):
    async def touch(self, session_id, expires_at):
        alike = [key for key in self.entries if key.casefold() == session_id.casefold()]
        touched = [await super(TouchesLookalikes, self).touch(key, expires_at) for key in alike]
        return any(touched)


@caught_by("test_moments_are_in_utc_and_whole_milliseconds")
class TellsLocalTimeInAScan(Reference):
    def decode_info(self, key):
        info = super().decode_info(key)
        return dataclasses.replace(info, created_at=info.created_at.astimezone(timezone(timedelta(hours=2))))


@caught_by("test_a_touch_keeps_version_and_body")
class ForgetsTheShapeAtATouch(Reference):
    async def touch(self, session_id, expires_at):
        found = await super().touch(session_id, expires_at)
        if found:
            self.put(dataclasses.replace(self.load(session_id), shape=0))
        return found
