"""Stores that change what is restored, or restore over what they must not."""

from __future__ import annotations

import copy
import dataclasses

from kit.reference import Reference
from kit.suites import caught_by

from botsession import (
    CorruptSessionError,
    Session,
    SessionConflictError,
    SessionInfo,
    Step,
)
from botsession.lifetime import new_version


class Restoring(Reference):
    """Stores something else than what is to be restored; a subclass says what."""

    def restored(self, session):
        return session

    def restore_now(self, restoration):
        super().restore_now(Step.restore(self.restored(copy.copy(restoration.session)), restoration.expected))


@caught_by(
    "test_what_is_restored_is_as_it_was",
    "test_a_restored_session_ends_at_its_own_deadline",
    "test_a_restored_session_is_replaced_by_its_version",
    "test_restoring_goes_over_what_was_found",
    "test_any_order_of_calls_gives_what_a_model_gives",
)
class StampsWhatItRestores(Restoring):
    def restored(self, session):
        self.stamp(session)
        return session


@caught_by("test_what_is_restored_is_as_it_was")
class StampsTheCallersSession(Reference):
    def restore_now(self, restoration):
        super().restore_now(Step.restore(copy.copy(restoration.session), restoration.expected))
        self.stamp(restoration.session)


@caught_by("test_what_is_restored_is_as_it_was", "test_restoring_goes_over_what_a_scan_found")
class RenewsTheActivityOfWhatItRestores(Restoring):
    def restored(self, session):
        session.last_activity = self.lifetime.now()
        return session


@caught_by("test_a_restored_session_ends_at_its_own_deadline", "test_what_is_restored_after_its_end_is_absent")
class CountsTheLifetimeAnew(Restoring):
    def restored(self, session):
        session.expires_at = self.lifetime.deadline(session, self.lifetime.now())
        return session


@caught_by("test_what_is_restored_is_as_it_was")
class ForgetsTheShapeOfWhatItRestores(Restoring):
    def restored(self, session):
        session.shape = 0
        return session


@caught_by(
    "test_restoring_has_an_outcome_for_each",
    "test_restoring_goes_over_nothing_that_was_not_found",
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


@caught_by("test_restoring_goes_over_nothing_that_was_not_found")
class TakesTheSameVersionForDone(Reference):
    def restore_now(self, restoration):
        found = self.load(restoration.session.id)
        if found is None or found.version != restoration.session.version:
            super().restore_now(restoration)


@caught_by("test_restoring_takes_the_expired_for_absent")
class RestoresOverTheExpired(Reference):
    def is_untouched(self, session_id, over):
        raw = self.entries.get(session_id)
        if raw is None or over is None:
            return super().is_untouched(session_id, over)
        return self.decode(raw, session_id).version == over.version


@caught_by("test_nothing_restored_is_nothing")
class EmptiesAtNothing(Reference):
    async def _restore_many(self, restorations):
        if not restorations:
            self.entries.clear()
        return await super()._restore_many(restorations)


@caught_by("test_restoring_stores_nothing_where_one_is_refused")
class RestoresWhatWasNeverStored(Reference):
    def check_restored(self, session):
        super().check_restored(dataclasses.replace(session, version=session.version or new_version()))


@caught_by("test_restoring_stores_nothing_where_one_is_refused")
class RestoresOneByOne(Reference):
    async def _restore_many(self, restorations):
        outcomes = []
        for restoration in restorations:
            outcomes += await super()._restore_many([restoration])
        return outcomes


@caught_by("test_a_corrupt_session_is_not_restored_over")
class RestoresOverTheCorrupt(Reference):
    def is_untouched(self, session_id, over):
        try:
            return super().is_untouched(session_id, over)
        except CorruptSessionError:
            return True


@caught_by("test_a_cancelled_call_leaves_no_damage")
class RestoresInTwoSteps(Reference):
    async def _restore_many(self, restorations):
        for restoration in restorations:
            self.put(Session(restoration.session.id, version="0"))
            await self.pause()
        return await super()._restore_many(
            [Step.restore(each.session, await self.read(each.session.id)) for each in restorations]
        )


@caught_by("test_ids_that_look_alike_keep_apart_when_restored")
class RestoresUnderStrippedIds(Reference):
    stripping = False

    def key(self, session_id):
        return session_id.strip() if self.stripping else session_id

    async def _restore_many(self, restorations):
        self.stripping = True
        try:
            return await super()._restore_many(restorations)
        finally:
            self.stripping = False


@caught_by("test_restore_beside_write_undoes_nothing")
class ComparesBeforeItRestores(Reference):
    async def _restore_many(self, restorations):
        untouched = [self.is_untouched(each.session.id, each.expected) for each in restorations]
        for _ in range(3):
            await self.pause()
        for restoration, right in zip(restorations, untouched, strict=True):
            if right:
                self.put(restoration.session)
        return [
            None if right else SessionConflictError(each.session.id)
            for each, right in zip(restorations, untouched, strict=True)
        ]


@caught_by("test_restoring_undoes_no_touch")
class ComparesOnlyTheVersionThatAScanTold(Reference):
    def is_untouched(self, session_id, over):
        if isinstance(over, SessionInfo):
            return self.matches(session_id, over.version)
        return super().is_untouched(session_id, over)
