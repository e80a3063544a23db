"""Stores that use the clock or the time zone of the bot's machine."""

from __future__ import annotations

import datetime as dt
import time

from kit.reference import Reference
from kit.suites import caught_by

from botsession import utc_now


@caught_by("test_the_time_zone_of_the_process_changes_nothing")
class KeepsLocalTime(Reference):
    """Stores times in the writing machine's local time, without a zone."""

    def put(self, session):
        super().put(session)
        self.places_local = getattr(self, "places_local", {})
        self.places_local[session.id] = session.expires_at.astimezone().replace(tzinfo=None)

    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.expires_at = self.places_local[session_id].astimezone(dt.UTC)
        return session


@caught_by("test_the_time_zone_of_the_process_changes_nothing")
class ListsLocalTime(Reference):
    def decode_info(self, key):
        info = super().decode_info(key)
        offset = dt.datetime.now().astimezone().utcoffset()
        return type(info)(info.id, info.created_at, info.last_activity, info.expires_at - offset, info.version)

    def is_expired(self, key):
        return self.lifetime.expired(Reference.decode_info(self, key).expires_at)


@caught_by("test_the_time_zone_of_the_process_changes_nothing")
class PurgesByLocalTime(Reference):
    async def purge(self):
        self.check()
        offset = dt.datetime.now().astimezone().utcoffset()
        ends = {key: self.decode_info(key).expires_at for key in self.entries}
        old = [key for key, end in ends.items() if end is not None and end <= self.lifetime.now() + offset]
        for key in old:
            del self.entries[key]
        return len(old)


@caught_by("test_a_deadline_in_summer_time_is_the_same_moment")
class AddsAnHourInSummer(Reference):
    def put(self, session):
        if session.expires_at is not None and time.localtime(session.expires_at.timestamp()).tm_isdst:
            session.expires_at += dt.timedelta(hours=1)
        super().put(session)


@caught_by("test_a_deadline_in_summer_time_is_the_same_moment")
class ForgetsWhichHourItWas(Reference):
    """Always interprets the repeated hour in autumn as its first occurrence."""

    def put(self, session):
        if session.expires_at is not None:
            session.expires_at = session.expires_at.astimezone().replace(tzinfo=None, fold=0).astimezone(dt.UTC)
        super().put(session)


@caught_by("test_leases_do_not_depend_on_the_clocks_of_the_bots")
class LeasesByTheTimeOfDay(Reference):
    def tick(self):
        return time.time()


@caught_by("test_leases_do_not_depend_on_the_clocks_of_the_bots")
class LeasesByTheMomentInUtc(Reference):
    def tick(self):
        return dt.datetime.now(dt.UTC).timestamp()


@caught_by("test_leases_do_not_depend_on_the_clocks_of_the_bots")
class LeasesByTheClockOfSessions(Reference):
    def tick(self):
        return utc_now().timestamp()
