"""Stores whose `commit` confuses its steps, or applies part of a commit that it refuses."""

from __future__ import annotations

import dataclasses

import msgspec
from kit.reference import Reference, is_removal, is_replacement, is_restoration
from kit.suites import caught_by

from botsession import ANYTHING, CorruptSessionError, SessionConflictError, Step


@caught_by("test_commit_has_an_outcome_for_each", "test_steps_of_every_kind_mix")
class StopsAtTheFirstConflict(Reference):
    async def commit(self, steps):
        outcomes = []
        for step in steps:
            outcomes += await super().commit([step])
            if outcomes[-1] is not None:
                break
        return outcomes + [outcomes[-1] for _ in steps[len(outcomes) :]]


@caught_by("test_commit_has_an_outcome_for_each", "test_commit_of_removals_has_an_outcome_for_each")
class MisplacesOutcomes(Reference):
    async def commit(self, steps):
        return sorted(await super().commit(steps), key=lambda outcome: outcome is not None)


@caught_by("test_commit_has_an_outcome_for_each")
class RaisesTheFirstConflict(Reference):
    async def commit(self, steps):
        outcomes = await super().commit(steps)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return outcomes


@caught_by("test_commit_has_an_outcome_for_each", "test_many_states_come_back_as_they_were")
class StampsCopiesInABatch(Reference):
    def carry_out(self, step):
        if is_replacement(step):
            step = Step.replace(dataclasses.replace(step.session))
        super().carry_out(step)


@caught_by("test_commit_has_an_outcome_for_each", "test_commit_of_removals_has_an_outcome_for_each")
class NamesTheWrongSession(Reference):
    async def commit(self, steps):
        outcomes = await super().commit(steps)
        return [outcome and SessionConflictError(steps[0].session_id) for outcome in outcomes]


@caught_by("test_commit_stores_nothing_if_one_state_is_refused")
class StoresUpToTheRefusedState(Reference):
    async def commit(self, steps):
        return [outcome for step in steps for outcome in await super(type(self), self).commit([step])]


@caught_by("test_commit_removes_those_and_no_others")
class RemovesAll(Reference):
    def remove(self, session_id):
        self.entries.clear()


@caught_by("test_commit_removes_those_and_no_others")
class StopsAtTheFirstAbsent(Reference):
    async def commit(self, steps):
        present = [self.load(step.session_id) is not None for step in steps if is_removal(step)]
        outcomes = await super().commit(steps[: present.index(False)] if False in present else steps)
        return outcomes + [None] * (len(steps) - len(outcomes))


@caught_by("test_commit_of_removals_has_an_outcome_for_each", "test_steps_of_every_kind_mix")
class RemovesWhateverIsThere(Reference):
    def is_as_expected(self, step):
        return is_removal(step) or super().is_as_expected(step)


@caught_by("test_steps_of_every_kind_mix")
class AnswersKindByKind(Reference):
    """Sends each kind of step in a separate batch, and returns the outcomes in batch order."""

    async def commit(self, steps):
        kinds = [[step for step in steps if is_kind(step)] for is_kind in (is_removal, is_replacement, is_restoration)]
        return [outcome for kind in kinds for outcome in await super(type(self), self).commit(kind)]


@caught_by("test_steps_of_every_kind_mix")
class TakesTheFirstKindForAll(Reference):
    async def commit(self, steps):
        same = [
            step if step.session is None else msgspec.structs.replace(step, is_stamped=steps[0].is_stamped)
            for step in steps
        ]
        return await super().commit(same)


class ExpectsSomethingElse(Reference):
    """Changes what a replacement expects if it accepts anything; subclasses define how."""

    def is_as_expected(self, step):
        if is_replacement(step) and step.expected is ANYTHING:
            step = Step.replace(step.session, self.instead(step))
        return super().is_as_expected(step)

    async def write(self, session_id, session):
        self.check()
        self.check_pair(session_id, session)
        self.check_state(session)
        await self.pause()
        self.save(session)


@caught_by("test_steps_of_every_kind_mix", "test_commit_replaces_whatever_is_there")
class TakesAnythingForAbsent(ExpectsSomethingElse):
    def instead(self, step):
        return None


@caught_by("test_commit_replaces_whatever_is_there")
class TakesAnythingForPresent(ExpectsSomethingElse):
    def instead(self, step):
        session = self.load(step.session_id)
        return "" if session is None else session.version


@caught_by("test_commit_replaces_whatever_is_there")
class TakesTheExpiredForSomething(Reference):
    def is_as_expected(self, step):
        raw = self.entries.get(step.session_id)
        leftover = raw is not None and self.load(step.session_id) is None
        return super().is_as_expected(step) and not (leftover and step.expected is ANYTHING)


@caught_by("test_commit_replaces_the_corrupt")
class ReadsWhatIsAnything(Reference):
    def is_as_expected(self, step):
        if is_replacement(step):
            self.load(step.session_id)
        return super().is_as_expected(step)


@caught_by("test_the_holder_replaces_whatever_is_there")
class AsksNoLeaseForAnything(Reference):
    def commit_now(self, step):
        if is_replacement(step) and step.expected is ANYTHING:
            step = msgspec.structs.replace(step, holder=None)
        super().commit_now(step)


class RefusesTooLate(Reference):
    """Applies some steps before it checks the others; subclasses define which."""

    async def commit(self, steps):
        self.check()
        first = list(filter(self.is_first, steps))
        outcomes = dict(zip(map(id, first), await super().commit(first), strict=True))
        rest = [step for step in steps if id(step) not in outcomes]
        outcomes |= zip(map(id, rest), await super().commit(rest), strict=True)
        return [outcomes[id(step)] for step in steps]


@caught_by("test_nothing_is_changed_if_one_step_is_refused")
class RemovesBeforeItChecksTheStates(RefusesTooLate):
    is_first = staticmethod(is_removal)


@caught_by("test_nothing_is_changed_if_one_step_is_refused")
class ReplacesBeforeItChecksTheRestored(RefusesTooLate):
    is_first = staticmethod(is_replacement)


@caught_by("test_nothing_is_changed_if_one_step_is_refused")
class RestoresBeforeItChecksTheReplacements(RefusesTooLate):
    is_first = staticmethod(is_restoration)


@caught_by("test_nothing_is_changed_if_one_step_is_refused")
class ChecksTheIdsOfRemovalsLater(Reference):
    async def commit(self, steps):
        first = [step for step in steps if not is_removal(step)]
        await super().commit(first)
        self.check(*(step.session_id for step in steps))
        removals = [step for step in steps if is_removal(step)]
        return await super().commit(removals)


@caught_by("test_nothing_is_changed_if_one_step_is_refused")
class ReleasesBeforeItChecksTheStates(Reference):
    async def commit(self, steps):
        self.check(*(step.session_id for step in steps))
        for step in steps:
            if step.holder is not None:
                self.release_now(step.session_id, step.holder)
        return await super().commit(steps)


@caught_by("test_a_removal_that_is_refused_keeps_session_and_lease")
class TrustsTheHolderOfARemoval(Reference):
    def is_as_expected(self, step):
        try:
            return (is_removal(step) and step.holder is not None) or super().is_as_expected(step)
        except CorruptSessionError:
            return False
