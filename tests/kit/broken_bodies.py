"""Stores that alter, share or lose their data, or that open and close incorrectly."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json

import msgspec
from kit.reference import Reference
from kit.suites import caught_by

from botsession import Session, StateError, StoreError


def changed(value, change):
    """Return a JSON value with every leaf and every object changed by a function."""
    if isinstance(value, dict):
        return change({key: changed(item, change) for key, item in value.items()})
    if isinstance(value, list):
        return [changed(item, change) for item in value]
    return change(value)


class Bending(Reference):
    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.state = changed(session.state, self.bend)
        return session


@caught_by("test_awkward_states_come_back_as_they_were", "test_any_state_comes_back_as_it_was")
class TurnsFloatsIntoIntegers(Bending):
    def bend(self, value):
        return int(value) if isinstance(value, float) and value.is_integer() else value


@caught_by("test_awkward_states_come_back_as_they_were")
class TurnsIntegersIntoFloats(Bending):
    def bend(self, value):
        return float(value) if type(value) is int and abs(value) > 2**53 else value


@caught_by("test_awkward_states_come_back_as_they_were", "test_many_states_come_back_as_they_were")
class SortsKeys(Bending):
    def bend(self, value):
        return dict(sorted(value.items())) if isinstance(value, dict) else value


@caught_by("test_awkward_states_come_back_as_they_were")
class CutsTextAtNul(Bending):
    def bend(self, value):
        return value.partition("\0")[0] if isinstance(value, str) else value


@caught_by("test_the_shape_of_the_state_comes_back")
class ForgetsTheShape(Reference):
    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.shape = 0
        return session


@caught_by("test_awkward_states_come_back_as_they_were")
class LosesTheSignOfZero(Bending):
    def bend(self, value):
        return value + 0.0 if type(value) is float else value


@caught_by("test_awkward_states_come_back_as_they_were")
class TakesDotsForPaths(Bending):
    def bend(self, value):
        return {key.rstrip("."): item for key, item in value.items()} if isinstance(value, dict) else value


@caught_by("test_awkward_states_come_back_as_they_were")
class TakesDollarsForOperators(Bending):
    def bend(self, value):
        return {key.lstrip("$"): item for key, item in value.items()} if isinstance(value, dict) else value


@caught_by("test_a_large_state_comes_back_or_is_refused")
class CutsLongText(Bending):
    def bend(self, value):
        return value[:65536] if isinstance(value, str) else value


@caught_by("test_any_user_comes_back_as_it_was")
class TakesAnEmptyUserForNone(Reference):
    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.user = session.user or None
        return session


@caught_by("test_a_sessions_own_lifetime_comes_back")
class TakesNeverForUnset(Reference):
    def decode(self, raw, session_id):
        session = super().decode(raw, session_id)
        session.expires_in = msgspec.UNSET if session.expires_in is None else session.expires_in
        return session


@caught_by("test_an_absent_session_is_none")
class MakesUpWhatIsAbsent(Reference):
    async def read(self, session_id):
        return await super().read(session_id) or Session(session_id)


@caught_by("test_an_empty_session_is_not_absent")
class TakesEmptyForAbsent(Reference):
    def load(self, session_id):
        session = super().load(session_id)
        return session if session and session.state else None


@caught_by("test_a_write_replaces_the_whole_session", "test_a_destroyed_session_is_absent")
class NeverDropsAKey(Reference):
    def save(self, session):
        old = self.load(session.id)
        merged = dataclasses.replace(session, state={**(old.state if old else {}), **session.state})
        super().save(merged)
        session.version, session.expires_at = merged.version, merged.expires_at

    def remove(self, session_id):
        if session_id in self.entries:
            self.save(Session(session_id, {}))


class KeepsObjects(Reference):
    """Stores the objects themselves instead of copies."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.objects = {}

    def put(self, session):
        super().put(session)
        self.objects[session.id, session.version] = self.kept(session)

    def load(self, session_id):
        session = super().load(session_id)
        return session and self.given(self.objects.get((session_id, session.version), session))


@caught_by("test_changing_what_was_read_changes_nothing_stored", "test_read_many_gives_private_copies")
class SharesWhatIsRead(KeepsObjects):
    kept = staticmethod(copy.deepcopy)

    def given(self, session):
        return session


@caught_by("test_changing_what_was_written_changes_nothing_stored")
class SharesWhatIsWritten(KeepsObjects):
    given = staticmethod(copy.deepcopy)

    def kept(self, session):
        return session


@caught_by(
    "test_changing_what_was_read_changes_nothing_stored", "test_changing_what_was_written_changes_nothing_stored"
)
class CopiesOnlyTheSurface(KeepsObjects):
    def kept(self, session):
        return dataclasses.replace(session, state={**session.state})

    given = kept


@caught_by("test_a_write_leaves_state_and_user_of_the_caller_alone")
class EscapesInPlace(Reference):
    def check_state(self, session):
        super().check_state(session)
        session.state = json.loads(json.dumps(session.state))


@caught_by("test_a_state_that_json_cannot_hold_is_refused_with_its_path")
class SaysNotWhere(Reference):
    def check_state(self, session):
        try:
            super().check_state(session)
        except StateError as error:
            raise StateError("$", "cannot be stored") from error


@caught_by("test_a_state_that_json_cannot_hold_is_refused_with_its_path")
class TakesTuplesForLists(Reference):
    def check_state(self, session):
        session.state = changed(session.state, lambda value: list(value) if isinstance(value, tuple) else value)
        super().check_state(session)


@caught_by(
    "test_after_a_refused_write_the_stored_session_stays", "test_after_a_refused_replace_the_stored_session_stays"
)
class RemovesBeforeItChecks(Reference):
    def check_state(self, session):
        old = self.entries.pop(session.id, None)
        super().check_state(session)
        if old is not None:
            self.entries[session.id] = old


@caught_by("test_destroying_an_absent_session_is_not_an_error")
class MissesWhatIsAbsent(Reference):
    def remove(self, session_id):
        del self.entries[session_id]


@caught_by("test_a_destroyed_session_is_absent", "test_destroying_an_absent_session_is_not_an_error")
class DestroysNothing(Reference):
    def remove(self, session_id):
        pass


@caught_by("test_a_destroyed_session_can_be_written_again", "test_init_may_be_called_again")
class BuriesForEver(Reference):
    def remove(self, session_id):
        self.entries[session_id] = b""

    def put(self, session):
        if self.entries.get(session.id) != b"":
            super().put(session)

    def load(self, session_id):
        return super().load(session_id) if self.entries.get(session_id) else None

    async def init(self):
        self.entries.clear()
        return await super().init()


@caught_by("test_init_returns_the_store")
class ReturnsNothingFromInit(Reference):
    async def init(self):
        await super().init()


@caught_by("test_init_may_be_called_concurrently")
class StumblesOverASecondInit(Reference):
    async def init(self):
        if getattr(self, "opening", False):
            raise StoreError("is being opened")
        self.opening = True
        await super().init()
        self.opening = False
        return self


@caught_by("test_before_init_every_method_is_refused")
class WorksBeforeInit(Reference):
    async def purge(self):
        return 0 if not self.open else await super().purge()


@caught_by("test_after_close_every_method_is_refused")
class WorksAfterClose(Reference):
    async def close(self):
        pass


@caught_by("test_close_may_be_called_again")
class ClosesOnce(Reference):
    async def close(self):
        if not self.open:
            raise StoreError("is closed")
        self.open = False


@caught_by("test_close_leaves_no_task_behind")
class LeavesATask(Reference):
    async def init(self):
        self.task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
        return await super().init()


@caught_by("test_ping_answers")
class DoesNotAnswer(Reference):
    async def ping(self):
        raise StoreError("no answer")


@caught_by("test_what_is_stored_outlives_the_store")
class ForgetsAtClose(Reference):
    async def close(self):
        self.entries.clear()
        self.open = False


@caught_by("test_methods_are_those_of_the_protocol")
class NamesAParameterOtherwise(Reference):
    async def read(self, key):
        return await super().read(key)


@caught_by("test_methods_are_those_of_the_protocol")
class IsNotAsynchronous(Reference):
    def read(self, session_id):
        return super().read(session_id)


@caught_by("test_methods_are_those_of_the_protocol")
class TakesArgumentsInAnotherOrder(Reference):
    async def write(self, session, session_id):
        await super().write(session_id, session) if isinstance(session_id, str) else await super().write(
            session, session_id
        )
