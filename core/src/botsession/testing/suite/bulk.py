"""Many at once is the same as one by one."""

from __future__ import annotations

import pytest

from botsession.errors import SessionConflictError, StateError
from botsession.protocol import (
    Step,
    SupportsCommit,
    SupportsExpiry,
)
from botsession.testing.bench import Bench, later, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.samples import AWKWARD_STATES, SAFE_IDS, exact


class Bulk(Hooks):
    """The capability `read_many`, `commit` and `commit`."""

    @scenario(SupportsCommit)
    async def test_nothing_at_once_is_nothing(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.store.read_many([]) == []
        assert await bench.store.commit([]) == []
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
