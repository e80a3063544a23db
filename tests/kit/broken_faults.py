"""Stores that confuse unreadable or unreachable with absent, or that disclose secrets."""

from __future__ import annotations

import contextlib
import logging

from kit.reference import Reference
from kit.suites import caught_by

from botsession import CorruptSessionError, ScanPage, StoreUnavailableError


@caught_by(
    "test_a_corrupt_session_is_an_error",
    "test_a_corrupt_session_is_not_replaced",
    "test_a_corrupt_session_is_its_own_outcome_in_a_batch",
)
class TakesCorruptForAbsent(Reference):
    def decode(self, raw, session_id):
        try:
            return super().decode(raw, session_id)
        except CorruptSessionError:
            return None


@caught_by("test_a_corrupt_session_is_not_replaced", "test_a_corrupt_session_is_its_own_outcome_in_a_batch")
class ReplacesTheCorrupt(Reference):
    def matches(self, session_id, expected):
        try:
            return super().matches(session_id, expected)
        except CorruptSessionError:
            return True


@caught_by("test_a_corrupt_session_is_not_repaired_by_a_touch")
class RepairsAtATouch(Reference):
    async def touch(self, session_id, expires_at):
        try:
            return await super().touch(session_id, expires_at)
        except CorruptSessionError:
            self.save(type(await self.read("kit:2"))(session_id))
            return True


@caught_by("test_a_corrupt_session_can_be_destroyed", "test_a_corrupt_session_is_its_own_outcome_in_a_batch")
class ReadsBeforeItDestroys(Reference):
    def remove(self, session_id):
        self.load(session_id)
        super().remove(session_id)


@caught_by("test_a_corrupt_session_can_be_written_over")
class ReadsBeforeItWrites(Reference):
    def save(self, session):
        self.load(session.id)
        super().save(session)


@caught_by("test_a_corrupt_session_is_reported_by_a_scan")
class HidesTheCorrupt(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        page = await super().scan(prefix, after=after, limit=limit)
        return ScanPage([info for info in page.sessions if self.entries[info.id].endswith(b"}")], page.next)


@caught_by("test_a_corrupt_session_is_its_own_outcome_in_a_batch")
class FailsTheWholeBatch(Reference):
    def attempt(self, call, argument):
        return call(argument)


@caught_by("test_a_corrupt_session_is_not_purged")
class PurgesTheCorrupt(Reference):
    def is_expired(self, key):
        return super().is_expired(key) or not self.entries[key].endswith(b"}")


@caught_by("test_an_expired_corrupt_session_is_not_purged")
class PurgesByAColumn(Reference):
    """Purges by a separate deadline column, which is readable even if the record is not."""

    def put(self, session):
        super().put(session)
        self.ends = {**getattr(self, "ends", {}), session.id: session.expires_at}

    def is_expired(self, key):
        return self.lifetime.expired(self.ends[key])


@caught_by("test_an_expired_corrupt_session_is_not_purged")
class PurgesByAColumnWithoutAWord(PurgesByAColumn):
    async def purge(self):
        readable = [key for key in self.entries if Reference.is_expired(self, key)]
        await super().purge()
        return len(readable)


@caught_by("test_a_corrupt_session_is_an_error")
class DropsTheCorrupt(Reference):
    def decode(self, raw, session_id):
        try:
            return super().decode(raw, session_id)
        except CorruptSessionError:
            self.remove(session_id)
            raise


@caught_by("test_an_unreachable_backend_is_an_error")
class TakesUnreachableForAbsent(Reference):
    async def init(self):
        self.open = True
        return self


@caught_by("test_an_unreachable_backend_is_an_error")
class HidesTheCause(Reference):
    async def init(self):
        if self.down:
            raise StoreUnavailableError("the reference is down")
        return await super().init()


@caught_by("test_an_unreachable_backend_is_an_error")
class RaisesTheBackendsOwnError(Reference):
    async def init(self):
        if self.down:
            raise ConnectionRefusedError(111, "refused")
        return await super().init()


@caught_by("test_secrets_are_not_disclosed")
class TellsItsPassword(Reference):
    def __repr__(self):
        return f"Reference(password={self.password!r})"


@caught_by("test_secrets_are_not_disclosed")
class TellsItsPasswordInAnError(Reference):
    async def init(self):
        if self.down:
            raise StoreUnavailableError(f"no answer from http://bot:{self.password}@example.org") from OSError()
        return await super().init()


@caught_by("test_secrets_are_not_disclosed")
class LogsItsPassword(Reference):
    async def init(self):
        logging.getLogger("botsession.reference").warning("connecting with %s", self.password)
        return await super().init()


@caught_by("test_secrets_are_not_disclosed")
class LogsItsPasswordUnderItsOwnName(Reference):
    async def init(self):
        logging.getLogger(__name__).debug("connecting with %s", self.password)
        return await super().init()


@caught_by("test_a_corrupt_session_is_reported_by_a_scan")
class NamesAnotherThanTheCorrupt(Reference):
    def decode_info(self, key):
        self.decode(self.entries[key], key)
        return super().decode_info(key)

    async def scan(self, prefix="", *, after=None, limit=None):
        page = await super().scan(prefix, after=after, limit=limit)
        unnamed = [CorruptSessionError("?", store=each.store, raw=each.raw, reason="?") for each in page.unreadable]
        return ScanPage(page.sessions, page.next, unnamed)


@caught_by("test_a_lost_backend_is_an_error")
class TakesLostForAbsent(Reference):
    async def read_many(self, session_ids):
        try:
            return await super().read_many(session_ids)
        except StoreUnavailableError:
            return [None for _ in session_ids]


@caught_by("test_a_lost_backend_is_an_error")
class SwallowsThatNothingWasDestroyed(Reference):
    async def destroy(self, session_id):
        with contextlib.suppress(StoreUnavailableError):
            await super().destroy(session_id)


@caught_by("test_a_backend_that_comes_back_is_used_again")
class NeverConnectsAgain(Reference):
    async def pause(self):
        self.dead = getattr(self, "dead", False) or self.lost
        if self.dead:
            raise StoreUnavailableError("the connection is closed") from ConnectionResetError(104, "reset")
