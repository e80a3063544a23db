"""Stores that change restored sessions, or overwrite existing ones."""

from __future__ import annotations

import copy
import dataclasses

import msgspec
from kit.reference import Reference, is_restoration
from kit.suites import caught_by

from botsession import (
    CorruptSessionError,
    Session,
    SessionInfo,
    Step,
)
from botsession.lifetime import new_version


class RestoresSomethingElse(Reference):
    """Changes what it restores; subclasses define how."""

    def carry_out(self, step):
        if is_restoration(step):
            step = msgspec.structs.replace(step, session=self.restored(copy.copy(step.session)))
        super().carry_out(step)


@caught_by(
    "test_what_is_restored_is_as_it_was",
    "test_a_restored_session_ends_at_its_own_deadline",
    "test_a_restored_session_is_replaced_by_its_version",
    "test_restoring_replaces_what_was_found",
    "test_any_order_of_calls_gives_what_a_model_gives",
)
class StampsWhatItRestores(RestoresSomethingElse):
    def restored(self, session):
        self.stamp(session)
        return session


@caught_by("test_what_is_restored_is_as_it_was")
class StampsTheCallersSession(Reference):
    def commit_now(self, step):
        super().commit_now(step)
        if is_restoration(step):
            self.stamp(step.session)


@caught_by("test_what_is_restored_is_as_it_was", "test_restoring_replaces_what_a_scan_found")
class RenewsTheActivityOfWhatItRestores(RestoresSomethingElse):
    def restored(self, session):
        session.last_activity = self.lifetime.now()
        return session


@caught_by("test_a_restored_session_ends_at_its_own_deadline", "test_what_is_restored_after_its_end_is_absent")
class CountsTheLifetimeAnew(RestoresSomethingElse):
    def restored(self, session):
        session.expires_at = self.lifetime.deadline(session, self.lifetime.now())
        return session


@caught_by("test_what_is_restored_is_as_it_was")
class ForgetsTheShapeOfWhatItRestores(RestoresSomethingElse):
    def restored(self, session):
        session.shape = 0
        return session


@caught_by(
    "test_restoring_has_an_outcome_for_each",
    "test_restoring_replaces_nothing_else",
    "test_restoring_does_not_bring_back_what_was_destroyed",
    "test_restoring_undoes_no_touch",
)
class RestoresOverAnything(Reference):
    def is_untouched(self, session_id, over):
        self.load(session_id)
        return True


@caught_by("test_restoring_undoes_no_touch")
class ComparesOnlyTheVersion(Reference):
    def is_untouched(self, session_id, over):
        return self.matches(session_id, over and over.version)


@caught_by("test_restoring_replaces_nothing_else")
class TakesTheSameVersionForDone(Reference):
    def commit_now(self, step):
        found = self.load(step.session_id)
        if not is_restoration(step) or found is None or found.version != step.session.version:
            super().commit_now(step)


@caught_by("test_an_expired_session_is_absent_for_restoring")
class RestoresOverTheExpired(Reference):
    def is_untouched(self, session_id, over):
        raw = self.entries.get(session_id)
        if raw is None or over is None:
            return super().is_untouched(session_id, over)
        return self.decode(raw, session_id).version == over.version


@caught_by("test_restoring_nothing_does_nothing")
class EmptiesAtNothing(Reference):
    async def commit(self, steps):
        if not steps:
            self.entries.clear()
        return await super().commit(steps)


@caught_by("test_restoring_stores_nothing_if_one_is_refused")
class RestoresWhatWasNeverStored(Reference):
    def check_restored(self, session):
        super().check_restored(dataclasses.replace(session, version=session.version or new_version()))


@caught_by("test_restoring_stores_nothing_if_one_is_refused")
class RestoresOneByOne(Reference):
    async def commit(self, steps):
        return [outcome for step in steps for outcome in await super(type(self), self).commit([step])]


@caught_by("test_a_corrupt_session_is_not_restored_over")
class RestoresOverTheCorrupt(Reference):
    def is_untouched(self, session_id, over):
        try:
            return super().is_untouched(session_id, over)
        except CorruptSessionError:
            return True


@caught_by("test_a_cancelled_call_leaves_no_damage")
class RestoresInTwoSteps(Reference):
    async def commit(self, steps):
        for step in filter(is_restoration, steps):
            self.put(Session(step.session_id, version="0"))
            await self.pause()
        found = await self.read_many([step.session_id for step in steps])
        return await super().commit(
            [
                Step.restore(step.session, over) if is_restoration(step) else step
                for step, over in zip(steps, found, strict=True)
            ]
        )


@caught_by("test_restoring_undoes_no_touch")
class ComparesOnlyTheVersionThatAScanTold(Reference):
    def is_untouched(self, session_id, over):
        if isinstance(over, SessionInfo):
            return self.matches(session_id, over.version)
        return super().is_untouched(session_id, over)
