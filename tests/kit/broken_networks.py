"""Stores that apply a retried call twice, wait forever, or leak connections."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import msgspec
from kit.remote import Remote, RemoteSuite, Served
from kit.suites import caught_by

from botsession import StoreUnavailableError


class ForgetsWhatItDid(Served):
    """A server that treats a repeated call as a new one."""

    def is_mine(self, session):
        return False


@caught_by("test_a_lost_answer_is_not_a_conflict", "test_a_lost_answer_leaves_leases_right", suite=RemoteSuite)
class TakesARepetitionForAConflict(Remote):
    served_type = ForgetsWhatItDid


@caught_by("test_a_lost_answer_is_not_a_conflict", "test_a_lost_answer_leaves_leases_right", suite=RemoteSuite)
class RepeatsADestruction(Remote):
    def may_repeat(self, name, arguments):
        return True


@caught_by("test_a_lost_answer_is_not_a_conflict", suite=RemoteSuite)
class StampsARepetitionAnew(Remote):
    """Stores a retried call under a different version than the caller received."""

    def may_repeat(self, name, arguments):
        return name != "write" and super().may_repeat(name, arguments)

    async def write(self, session_id, session):
        try:
            await super().write(session_id, session)
        except StoreUnavailableError:
            await super().write(session_id, dataclasses.replace(session))


@caught_by("test_a_lost_request_is_not_reported_as_success", suite=RemoteSuite)
class TakesALostConnectionForDone(Remote):
    def may_repeat(self, name, arguments):
        return name != "touch" and super().may_repeat(name, arguments)

    async def touch(self, session_id, expires_at):
        with contextlib.suppress(StoreUnavailableError):
            return await super().touch(session_id, expires_at)
        return True


@caught_by("test_a_lost_request_is_not_reported_as_success", suite=RemoteSuite)
class RaisesWhatTheConnectionRaised(Remote):
    async def destroy(self, session_id):
        try:
            await super().destroy(session_id)
        except StoreUnavailableError as error:
            raise error.__cause__ from None

    def may_repeat(self, name, arguments):
        return name != "destroy" and super().may_repeat(name, arguments)


class ServesHoldersByTheirSending(Served):
    """A server that treats each repetition of a claim as one of another holder."""

    sendings = 0

    def claim_now(self, claim):
        self.sendings += 1
        return super().claim_now(type(claim)(claim.session_id, f"{claim.holder}{self.sendings}", claim.ttl, 0))

    def renew_now(self, session_id, holder, ttl):
        return super().renew_now(session_id, self.lease(session_id).holder, ttl)


@caught_by("test_a_lost_answer_leaves_leases_right", suite=RemoteSuite)
class ClaimsUnderANewNameAtEverySending(Remote):
    served_type = ServesHoldersByTheirSending


class StoresInTwoSteps(Served):
    """Leaves releasing the lease to the caller."""

    def commit_now(self, step):
        super().commit_now(msgspec.structs.replace(step, holder=None))


@caught_by("test_a_lost_answer_leaves_leases_right", suite=RemoteSuite)
class ReleasesInASecondCall(Remote):
    """Skips the second call if the first one had to be retried."""

    served_type = StoresInTwoSteps

    async def commit(self, steps):
        self.prepare("commit", [steps], {})
        try:
            outcomes = await self.send_once("commit", steps)
        except (OSError, EOFError):
            return await self.send("commit", steps)
        await self.send("release_leases", {step.session_id: step.holder for step in steps if step.holder})
        return outcomes


@caught_by("test_a_hung_server_ends_every_call", "test_close_ends_while_the_server_hangs", suite=RemoteSuite)
class WaitsForEver(Remote):
    """Waits in `close` for the calls in progress."""

    def __init__(self, *arguments, time_limit=None, **options):
        super().__init__(*arguments, **options)
        self.time_limit = None
        self.running = 0

    async def send_once(self, name, *arguments, **keywords):
        self.running += 1
        try:
            return await super().send_once(name, *arguments, **keywords)
        finally:
            self.running -= 1

    async def close(self):
        while self.running:  # noqa: ASYNC110 - no event signals their end
            await asyncio.sleep(0.01)
        await super().close()


@caught_by("test_a_hung_server_ends_every_call", suite=RemoteSuite)
class WaitsForEverToConnect(Remote):
    async def init(self):
        limit, self.time_limit = self.time_limit, None
        await super().init()
        self.time_limit = limit
        return self


@caught_by("test_a_hung_server_ends_every_call", suite=RemoteSuite)
class RaisesATimeoutOfItsOwn(Remote):
    async def ping(self):
        try:
            await super().ping()
        except StoreUnavailableError as error:
            raise TimeoutError from error


@caught_by("test_an_error_of_the_server_leaks_no_connection", suite=RemoteSuite)
class LeaksAConnectionAtEveryError(Remote):
    def give_back(self, reader, writer, outcome):
        if not isinstance(outcome, PermissionError):
            super().give_back(reader, writer, outcome)


@caught_by("test_a_call_that_is_cancelled_or_fails_leaks_no_connection", suite=RemoteSuite)
class LeaksAConnectionAtEveryConflict(Remote):
    def give_back(self, reader, writer, outcome):
        if not isinstance(outcome, Exception):
            super().give_back(reader, writer, outcome)


@caught_by("test_a_call_that_is_cancelled_or_fails_leaks_no_connection", suite=RemoteSuite)
class LeaksAConnectionAtEveryCancellation(Remote):
    def drop(self, writer):
        if not self.open:
            super().drop(writer)
