"""Stores that quarantine the wrong sessions, or lose data."""

from __future__ import annotations

import asyncio

from kit.reference import Reference
from kit.suites import caught_by

from botsession import CorruptSessionError


@caught_by("test_an_unreadable_session_is_quarantined")
class QuarantinesAmongTheSessions(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        self.entries[f"{session_id}.corrupt"] = self.quarantined[where]
        return where


@caught_by("test_an_unreadable_session_is_quarantined", "test_one_of_many_quarantines_it")
class CopiesOnly(Reference):
    def set_aside(self, session_id):
        raw = self.entries[session_id]
        where = super().set_aside(session_id)
        self.entries[session_id] = raw
        return where


@caught_by("test_a_quarantined_session_starts_over")
class LeavesATombstone(Reference):
    def matches(self, session_id, expected):
        return super().matches(session_id, expected) and not self.quarantined


@caught_by("test_a_quarantined_session_starts_over", "test_a_readable_session_is_not_quarantined")
class QuarantinesWhateverIsThere(Reference):
    def quarantine_now(self, session_id):
        return self.set_aside(session_id) if session_id in self.entries else None


@caught_by("test_a_readable_session_is_not_quarantined")
class QuarantinesWhatWasRepaired(Reference):
    def load(self, session_id):
        try:
            return super().load(session_id)
        except CorruptSessionError:
            self.seen = {*getattr(self, "seen", ()), session_id}
            raise

    def quarantine_now(self, session_id):
        return self.set_aside(session_id) if session_id in getattr(self, "seen", ()) else None


@caught_by("test_an_absent_session_is_not_quarantined")
class TellsAPlaceOfNothing(Reference):
    def quarantine_now(self, session_id):
        return super().quarantine_now(session_id) if session_id in self.entries else "nowhere"


@caught_by("test_an_expired_session_is_not_quarantined")
class QuarantinesTheExpired(Reference):
    def quarantine_now(self, session_id):
        if session_id in self.entries and self.is_expired(session_id):
            return self.set_aside(session_id)
        return super().quarantine_now(session_id)


@caught_by("test_the_quarantine_keeps_every_byte")
class HasOnePlaceForEachSession(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        self.quarantined[f"the place of {session_id}"] = self.quarantined.pop(where)
        return f"the place of {session_id}"


@caught_by("test_the_quarantine_keeps_every_byte")
class KeepsOnlyTheBeginning(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        self.quarantined[where] = self.quarantined[where][:20]
        return where


@caught_by("test_the_quarantine_keeps_every_byte")
class KeepsOnlyTheLast(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        for other in self.quarantined.keys() - {where}:
            self.quarantined[other] = b""
        return where


@caught_by("test_ids_that_look_alike_keep_apart_when_quarantined")
class QuarantinesItsLookalikeToo(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        for other in [other for other in self.entries if other.casefold() == session_id.casefold()]:
            self.quarantined[where] += self.entries.pop(other)
        return where


class QuarantinesInTwoSteps(Reference):
    steps = 1

    async def quarantine(self, session_id):
        self.check(session_id)
        try:
            self.load(session_id)
        except CorruptSessionError:
            for _ in range(self.steps):
                await asyncio.sleep(0)
            return self.set_aside(session_id) if session_id in self.entries else "somewhere"
        return None


@caught_by("test_one_of_many_quarantines_it")
class TellsEverybodyThatItDid(QuarantinesInTwoSteps):
    pass


@caught_by("test_quarantine_during_write_takes_nothing_readable")
class QuarantinesWhatWasWrittenMeanwhile(QuarantinesInTwoSteps):
    steps = 3


@caught_by("test_a_hostile_id_is_not_quarantined")
class QuarantinesUnderAnyName(Reference):
    async def quarantine(self, session_id):
        return None


@caught_by("test_the_quarantine_keeps_every_byte")
class KeepsTextOnly(Reference):
    def set_aside(self, session_id):
        where = super().set_aside(session_id)
        self.quarantined[where] = self.quarantined[where].decode(errors="replace").encode()
        return where
