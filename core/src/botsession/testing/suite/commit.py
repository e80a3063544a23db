"""Each step of a batch has the effect and the outcome that it would have alone."""

from __future__ import annotations

import dataclasses
import math

import pytest

from botsession.errors import InvalidSessionIdError, SessionConflictError, StateError
from botsession.protocol import (
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsLease,
)
from botsession.session import Session
from botsession.testing.bench import ID, Bench, later, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import A, renew, take
from botsession.testing.samples import AWKWARD_STATES, SAFE_IDS, exact
from botsession.testing.suite.restorations import from_elsewhere


class Commit(Hooks):
    """The capability `commit`, with `read_many`: steps of every kind in one batch."""

    @scenario(SupportsCommit)
    async def test_nothing_at_once_is_nothing(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.store.read_many([]) == []
        assert await bench.store.commit([]) == []
        await bench.stored()

    @scenario(SupportsCommit)
    async def test_read_many_answers_in_the_order_asked(self, bench: Bench) -> None:
        for number in range(5):
            await bench.write(f"kit:{number}", {"number": number})
        asked = ["kit:3", "kit:absent", "kit:0", "kit:4", "kit:3", "kit:1"]
        outcomes = await bench.store.read_many(asked)
        assert outcomes == [await bench.store.read(session_id) for session_id in asked]

    @scenario(SupportsCommit)
    async def test_read_many_gives_private_copies(self, bench: Bench) -> None:
        await bench.write("kit:1", {"cart": [1]})
        first, second = await bench.store.read_many(["kit:1", "kit:1"])
        first.state["cart"].append(2)  # type: ignore[union-attr]  # it was written above
        assert second.state == {"cart": [1]}  # type: ignore[union-attr]  # it was written above
        assert (await bench.stored("kit:1")).state == {"cart": [1]}

    @scenario(SupportsCommit)
    async def test_many_states_come_back_as_they_were(self, bench: Bench) -> None:
        ids = SAFE_IDS[: len(AWKWARD_STATES)]
        entries = [
            Step.replace(bench.session(session_id, state, user=state, expires_in=7, shape=3), None)
            for session_id, state in zip(ids, AWKWARD_STATES, strict=True)
        ]
        assert await bench.store.commit(entries) == [None] * len(ids)
        for entry, read in zip(entries, await bench.store.read_many(ids), strict=True):
            assert read == entry.session
            assert exact(read.state) == exact(entry.session.state)  # type: ignore[union-attr]  # it was made above

    @scenario(SupportsCommit)
    async def test_commit_has_an_outcome_for_each(self, bench: Bench) -> None:
        present, changed, untouched = [await bench.write(f"kit:{n}", {"by": "write"}) for n in range(3)]
        old = changed.version
        await bench.store.write(changed.id, changed)
        entries = [
            Step.replace(bench.session("kit:new", {"by": "bulk"}), None),
            Step.replace(bench.session(changed.id, {"by": "bulk"}), old),
            Step.replace(bench.session(present.id, {"by": "bulk"}), present.version),
            Step.replace(bench.session(untouched.id, {"by": "bulk"}), None),
            Step.replace(bench.session("kit:absent", {"by": "bulk"}), "0" * 16),
            Step.replace(bench.session("kit:last", {"by": "bulk"}), None),
        ]
        outcomes = await bench.store.commit(entries)
        stored = [outcome is None for outcome in outcomes]
        assert stored == [True, False, True, False, False, True]
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None:
                assert await bench.stored(entry.session_id) == entry.session
            else:
                assert isinstance(outcome, SessionConflictError)
                assert outcome.session_id == entry.session_id
        assert (await bench.stored(changed.id)).state == {"by": "write"}
        assert (await bench.stored(untouched.id)).state == {"by": "write"}
        assert await bench.store.read("kit:absent") is None

    @scenario(SupportsCommit)
    async def test_steps_of_every_kind_mix(self, bench: Bench) -> None:
        for turned in (False, True):
            await self._mix(bench, f"kit:{turned}:", turned=turned)

    async def _mix(self, bench: Bench, prefix: str, *, turned: bool) -> None:
        """Commits steps of every kind in one batch, in one order or the other."""

        def new(name: str) -> StoredSession:
            return bench.session(prefix + name, {"by": "commit"})

        def old(name: str) -> StoredSession:
            session = from_elsewhere(bench, prefix + name)
            restored.append((session, dataclasses.replace(session)))
            return session

        restored: list[tuple[StoredSession, StoredSession]] = []
        names = ("replaced", "over", "stale", "restored", "taken", "removed", "kept", "gone", "other")
        found = {name: await bench.write(prefix + name, {"by": "write"}) for name in names}
        steps = [
            (Step.restore(old("restored"), found["restored"]), True),
            (Step.replace(new("stale"), "0" * 16), False),
            (Step.remove(prefix + "removed", found["removed"].version), True),
            (Step.replace(new("over")), True),
            (Step.restore(old("taken"), None), False),
            (Step.remove(prefix + "kept", "0" * 16), False),
            (Step.replace(new("new"), None), True),
            (Step.remove(prefix + "gone"), True),
            (Step.restore(old("moved"), None), True),
            (Step.replace(new("anywhere")), True),
            (Step.remove(prefix + "absent", "0" * 16), False),
            (Step.replace(new("replaced"), found["replaced"].version), True),
            (Step.remove(prefix + "never"), True),
        ]
        if turned:
            steps.reverse()
        outcomes = await bench.store.commit([step for step, _ in steps])
        assert [outcome is None for outcome in outcomes] == [right for _, right in steps]
        for (step, right), outcome in zip(steps, outcomes, strict=True):
            before = found.get(step.session_id.removeprefix(prefix))
            assert await bench.store.read(step.session_id) == (step.session if right else before)
            if not right:
                assert isinstance(outcome, SessionConflictError)
                assert outcome.session_id == step.session_id
        assert await bench.stored(prefix + "other") == found["other"]
        assert all(session == before for session, before in restored), "a restored session was stamped"

    @scenario(SupportsCommit, SupportsExpiry, expires_in=10)
    async def test_commit_replaces_whatever_is_there(self, bench: Bench) -> None:
        await bench.write("kit:expired", {"old": 1}, user={"old": 1})
        await bench.age(10)
        await bench.write("kit:present", {"old": 1}, user={"old": 1})
        sessions = [bench.session(f"kit:{name}", {"new": 1}) for name in ("present", "absent", "expired")]
        assert await bench.store.commit([Step.replace(session) for session in sessions]) == [None] * 3
        assert await bench.store.read_many([session.id for session in sessions]) == sessions
        assert len({session.version for session in sessions}) == 3
        assert [session.expires_at for session in sessions] == [later(bench, 10)] * 3

    @scenario(SupportsCommit)
    async def test_commit_replaces_the_corrupt(self, bench: Bench) -> None:
        await bench.write()
        await self.corrupt(bench.store, ID)
        session = bench.session(state={"new": 1})
        assert await bench.store.commit([Step.replace(session)]) == [None]
        assert await bench.stored() == session

    @scenario(SupportsCommit)
    async def test_nothing_is_changed_where_one_step_is_refused(self, bench: Bench) -> None:
        refused: list[tuple[Step, type[Exception]]] = [
            (Step.restore(from_elsewhere(bench, state={"a": object()}), None), StateError),
            (Step.restore(from_elsewhere(bench, version=""), None), StateError),
            (Step.restore(from_elsewhere(bench, "line\nfeed"), None), InvalidSessionIdError),
            (Step.replace(Session("nul\x00byte")), InvalidSessionIdError),
            (Step.replace(Session(""), None), InvalidSessionIdError),
            (Step.remove("tab\t"), InvalidSessionIdError),
            (Step.remove("", "0" * 16), InvalidSessionIdError),
        ]
        if isinstance(bench.store, SupportsExpiry):
            refused += [
                (Step.replace(bench.session(state={"a": object()})), StateError),
                (Step.replace(bench.session(state={"a": math.nan}), None), StateError),
            ]
        for number, (step, error) in enumerate(refused):
            await self._refuse(bench, f"kit:{number}:", step, error)

    async def _refuse(self, bench: Bench, prefix: str, wrong: Step, error: type[Exception]) -> None:
        """Commits a step that must be refused between steps of every kind, of which none may be carried out."""
        holder = None
        found = [await bench.write(f"{prefix}{number}") for number in range(6)]
        if isinstance(bench.store, SupportsLease):
            holder = A
            await take(bench, A, found[0].id)
            await take(bench, A, found[1].id)
        right = [
            Step.remove(found[0].id, holder=holder),
            Step.replace(bench.session(found[1].id), found[1].version, holder),
            Step.restore(from_elsewhere(bench, found[2].id), found[2]),
            Step.replace(bench.session(found[3].id)),
            Step.restore(from_elsewhere(bench, f"{prefix}new"), None),
            Step.remove(found[4].id, found[4].version),
            Step.replace(bench.session(f"{prefix}absent"), None),
        ]
        for steps in ([wrong, *right], [*right[:3], wrong, *right[3:]], [*right, wrong]):
            with pytest.raises(error):
                await bench.store.commit(steps)
        assert await bench.store.read_many([session.id for session in found]) == found
        assert await bench.store.read_many([f"{prefix}new", f"{prefix}absent", ID]) == [None] * 3
        if isinstance(bench.store, SupportsLease):
            assert [await renew(bench, A, session.id) for session in found[:2]] == [True, True]

    @scenario(SupportsCommit)
    async def test_commit_lets_one_of_two_win(self, bench: Bench) -> None:
        entries = [Step.replace(bench.session("kit:1", {"number": number}), None) for number in range(3)]
        outcomes = await bench.store.commit(entries)
        winners = [number for number, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert (await bench.stored("kit:1")).state == {"number": winners[0]}

    @scenario(SupportsCommit, SupportsExpiry)
    async def test_commit_stores_nothing_where_one_state_is_refused(self, bench: Bench) -> None:
        entries = [
            Step.replace(bench.session("kit:1"), None),
            Step.replace(bench.session("kit:2", {"a": [object()]}), None),
            Step.replace(bench.session("kit:3"), None),
        ]
        with pytest.raises(StateError) as caught:
            await bench.store.commit(entries)
        assert caught.value.path == "$.state.a[0]"
        assert await bench.store.read_many(["kit:1", "kit:2", "kit:3"]) == [None, None, None]

    @scenario(SupportsCommit, SupportsExpiry, expires_in=10, max_lifetime=25)
    async def test_commit_goes_by_the_lifetimes_of_session_and_store(self, bench: Bench) -> None:
        created = later(bench, 0)
        sessions = [bench.session("kit:usual"), bench.session("kit:own", expires_in=7)]
        for minutes, left in ((0, (10, 7)), (6, (10, 7)), (6, (10, 7)), (6, (7, 7))):
            await bench.age(minutes)
            before = [session.version for session in sessions]
            entries = [Step.replace(session, session.version or None) for session in sessions]
            assert await bench.store.commit(entries) == [None, None]
            assert [session.expires_at for session in sessions] == [later(bench, minutes) for minutes in left]
            assert [session.last_activity for session in sessions] == [later(bench, 0)] * 2
            assert not {session.version for session in sessions} & set(before), "a version came twice"
            assert await bench.store.read_many([session.id for session in sessions]) == sessions
        assert [session.created_at for session in sessions] == [created, created]

    @scenario(SupportsCommit, SupportsExpiry, expires_in=10)
    async def test_commit_does_not_bring_back_what_has_expired(self, bench: Bench) -> None:
        old = await bench.write("kit:old")
        leftover = await bench.write("kit:leftover")
        await bench.age(10)
        outcomes = await bench.store.commit(
            [
                Step.replace(old, old.version),
                Step.replace(bench.session(leftover.id, {"new": True}), None),
            ]
        )
        assert isinstance(outcomes[0], SessionConflictError)
        assert outcomes[1] is None
        assert await bench.store.read("kit:old") is None
        assert (await bench.stored("kit:leftover")).state == {"new": True}

    @scenario(SupportsCommit)
    async def test_commit_removes_those_and_no_others(self, bench: Bench) -> None:
        for number in range(5):
            await bench.write(f"kit:{number}")
        removals = [Step.remove(session_id) for session_id in ("kit:3", "kit:absent", "kit:1")]
        assert await bench.store.commit(removals) == [None, None, None]
        left = [number for number in range(5) if await bench.store.read(f"kit:{number}") is not None]
        assert left == [0, 2, 4]

    @scenario(SupportsCommit)
    async def test_commit_of_removals_has_an_outcome_for_each(self, bench: Bench) -> None:
        present, changed, anything = [await bench.write(f"kit:{number}") for number in range(3)]
        old = changed.version
        changed = await bench.write(changed.id, {"by": "write"})
        removals = [
            Step.remove(changed.id, old),
            Step.remove(present.id, present.version),
            Step.remove("kit:absent", "0" * 16),
            Step.remove(anything.id),
        ]
        outcomes = await bench.store.commit(removals)
        assert [outcome is None for outcome in outcomes] == [False, True, False, True]
        for removal, outcome in zip(removals, outcomes, strict=True):
            if outcome is not None:
                assert isinstance(outcome, SessionConflictError)
                assert outcome.session_id == removal.session_id
        assert await bench.store.read_many([removal.session_id for removal in removals]) == [changed, None, None, None]
