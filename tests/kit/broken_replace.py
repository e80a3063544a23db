"""Stores that lose updates, resurrect sessions, or stamp them incorrectly."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from datetime import timedelta, timezone

import msgspec
from kit.reference import Reference
from kit.suites import Bare, BareSuite, caught_by

from botsession import Lifetime, SessionConflictError
from botsession.lifetime import new_version
from botsession.storage import records


@caught_by(
    "test_replace_refuses_a_version_of_before",
    "test_replace_refuses_what_is_not_the_version",
    "test_no_increment_is_lost",
    "test_replace_concerns_one_session_only",
)
class IgnoresWhatIsExpected(Reference):
    def matches(self, session_id, expected):
        return (expected is None) == (self.load(session_id) is None)


@caught_by("test_replace_does_not_create_what_is_there", "test_one_of_many_creates", "test_commit_lets_one_of_two_win")
class CreatesOverWhatIsThere(Reference):
    def matches(self, session_id, expected):
        return expected is None or super().matches(session_id, expected)


@caught_by(
    "test_replace_does_not_bring_back_what_was_never_there",
    "test_replace_does_not_bring_back_what_was_destroyed",
    "test_replace_does_not_bring_back_what_has_expired",
    "test_commit_does_not_bring_back_what_has_expired",
    "test_replace_during_destroy_brings_nothing_back",
)
class Resurrects(Reference):
    def matches(self, session_id, expected):
        return self.load(session_id) is None or super().matches(session_id, expected)


@caught_by("test_replace_does_not_bring_back_what_has_expired")
class ComparesWithWhatHasExpired(Reference):
    def matches(self, session_id, expected):
        raw = self.entries.get(session_id)
        return expected is None if raw is None else self.decode(raw, session_id).version == expected


@caught_by("test_replace_creates_over_an_expired_session")
class TakesALeftoverForASession(Reference):
    def matches(self, session_id, expected):
        return super().matches(session_id, expected) and (expected is not None or session_id not in self.entries)


@caught_by("test_replace_creates_what_is_absent")
class CreatesNothing(Reference):
    def matches(self, session_id, expected):
        return expected is not None and super().matches(session_id, expected)


@caught_by("test_replace_stores_over_the_version_that_was_read")
class KeepsTheUser(Reference):
    async def replace(self, session_id, session, *, expected):
        old = self.load(session_id)
        session.user = old.user if old else session.user
        await super().replace(session_id, session, expected=expected)


@caught_by("test_replace_refuses_what_is_not_the_version")
class ComparesTheBeginning(Reference):
    def matches(self, session_id, expected):
        session = self.load(session_id)
        return expected is None if session is None else expected is not None and session.version.startswith(expected)


@caught_by("test_replace_takes_the_version_from_before_a_touch", "test_a_touch_keeps_version_and_body")
class RenewsTheVersionAtATouch(Reference):
    async def touch(self, session_id, expires_at):
        found = await super().touch(session_id, expires_at)
        if found:
            self.put(dataclasses.replace(self.load(session_id), version=new_version()))
        return found


@caught_by(
    "test_every_write_gives_a_new_version",
    "test_every_replace_gives_a_new_version",
    "test_replace_distinguishes_a_new_session_from_a_destroyed_one",
)
class TakesAHashForAVersion(Reference):
    def stamp(self, session):
        super().stamp(session)
        session.version = hashlib.sha256(repr(session.state).encode()).hexdigest()[:16]


@caught_by("test_replace_distinguishes_a_new_session_from_a_destroyed_one")
class CountsVersionsFromOne(Reference):
    def stamp(self, session):
        old = self.load(session.id)
        super().stamp(session)
        session.version = str(int(old.version) + 1 if old else 1)


@caught_by("test_every_replace_gives_a_new_version", "test_replace_refuses_a_version_of_before")
class KeepsTheVersionAtAReplace(Reference):
    async def replace(self, session_id, session, *, expected):
        await super().replace(session_id, session, expected=expected)
        if expected:
            session.version = expected
            self.put(session)


@caught_by("test_no_increment_is_lost", "test_one_of_many_creates", "test_two_stores_lose_no_increment")
class ComparesAndSetsInTwoSteps(Reference):
    async def replace(self, session_id, session, *, expected):
        self.check(session_id)
        self.check_state(session)
        if not self.matches(session_id, expected):
            raise SessionConflictError(session_id)
        await asyncio.sleep(0)
        self.save(session)


@caught_by("test_replace_during_destroy_brings_nothing_back")
class ReplacesInTwoSteps(Reference):
    async def replace(self, session_id, session, *, expected):
        self.check(session_id)
        if not self.matches(session_id, expected):
            raise SessionConflictError(session_id)
        for _ in range(3):
            await asyncio.sleep(0)
        self.save(session)


@caught_by("test_a_read_changes_no_version")
class WritesWhenItReads(Reference):
    def load(self, session_id):
        session = super().load(session_id)
        return session and dataclasses.replace(session, version=new_version())


@caught_by("test_a_write_stamps_the_session_in_place", "test_a_replace_stamps_the_session_in_place")
class StampsACopy(Reference):
    def save(self, session):
        super().save(dataclasses.replace(session))


@caught_by("test_a_session_is_created_once", "test_a_replace_stamps_the_session_in_place")
class CreatesAtEachWrite(Reference):
    def stamp(self, session):
        super().stamp(session)
        session.created_at = session.last_activity


@caught_by("test_moments_are_in_utc_and_whole_milliseconds")
class TellsLocalTime(Reference):
    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.created_at = session.created_at.astimezone(timezone(timedelta(hours=2)))
        return session


@caught_by("test_a_store_without_lifetime_keeps_the_stamps_it_is_given", suite=BareSuite)
class StampsWithoutALifetime(Bare):
    def __init__(self, place=""):
        super().__init__(place)
        self.inner.stamp = self.inner.lifetime.stamp


@caught_by("test_a_replace_stamps_the_session_in_place")
class ForgetsTheActivityAtAReplace(Reference):
    async def replace(self, session_id, session, *, expected):
        active = session.last_activity
        await super().replace(session_id, session, expected=expected)
        self.entries[session_id] = records.encode(dataclasses.replace(session, last_activity=active))


class ComparesVersionsLoosely(Reference):
    """Compares versions loosely; subclasses define how."""

    def matches(self, session_id, expected):
        session = self.load(session_id)
        if session is None or expected is None:
            return session is expected
        return self.loose(session.version) == self.loose(expected)


@caught_by("test_replace_refuses_what_is_not_the_version")
class FoldsTheCaseOfVersions(ComparesVersionsLoosely):
    def loose(self, version):
        return version.casefold()


@caught_by("test_replace_refuses_what_is_not_the_version")
class PadsVersions(ComparesVersionsLoosely):
    def loose(self, version):
        return version.rstrip(" ")


@caught_by("test_replace_refuses_what_is_not_the_version")
class CutsVersionsAtNul(ComparesVersionsLoosely):
    def loose(self, version):
        return version.partition("\x00")[0]


class ChangesInAReplace(Reference):
    """Changes the session in a replace; subclasses define how."""

    async def replace(self, session_id, session, *, expected):
        await super().replace(session_id, session, expected=expected)
        self.change(session)
        self.put(session)


@caught_by("test_replace_creates_what_is_absent")
class ForgetsTheShapeInAReplace(Reference):
    async def replace(self, session_id, session, *, expected):
        await super().replace(session_id, session, expected=expected)
        self.put(dataclasses.replace(session, shape=0))


@caught_by("test_any_state_that_replaces_another_comes_back_as_it_was")
class SortsTheKeysOfWhatReplaces(Reference):
    async def replace(self, session_id, session, *, expected):
        await super().replace(session_id, session, expected=expected)
        self.put(dataclasses.replace(session, state=dict(sorted(session.state.items()))))


@caught_by("test_a_replace_uses_the_lifetimes_of_session_and_store")
class IgnoresTheLongestLifetimeInAReplace(ChangesInAReplace):
    def change(self, session):
        session.expires_at = Lifetime(10, clock=self.lifetime.now).deadline(session, self.lifetime.now())


@caught_by("test_a_replace_uses_the_lifetimes_of_session_and_store")
class IgnoresTheSessionsOwnLifetimeInAReplace(ChangesInAReplace):
    def change(self, session):
        usual = dataclasses.replace(session, expires_in=msgspec.UNSET)
        session.expires_at = self.lifetime.deadline(usual, self.lifetime.now())


@caught_by("test_ids_that_look_alike_keep_apart_for_replace")
class StripsIdsInAReplace(Reference):
    stripping = False

    def key(self, session_id):
        return session_id.strip() if self.stripping else session_id

    async def replace(self, session_id, session, *, expected):
        self.stripping = True
        try:
            await super().replace(session_id, session, expected=expected)
        finally:
            self.stripping = False


@caught_by("test_a_write_replaces_the_whole_session")
class KeepsTheBirthdayOfWhatWasThere(Reference):
    def put(self, session):
        raw = self.entries.get(session.id)
        born = session.created_at if raw is None else self.decode(raw, session.id).created_at
        super().put(dataclasses.replace(session, created_at=born))
