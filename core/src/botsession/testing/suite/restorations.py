"""What comes from elsewhere stays as it is, and undoes nothing."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from botsession.errors import (
    CorruptSessionError,
    InvalidSessionIdError,
    SessionConflictError,
    StateError,
)
from botsession.lifetime import new_version
from botsession.protocol import (
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session, SessionInfo
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
from botsession.testing.hooks import Hooks
from botsession.testing.samples import (
    AWKWARD_STATES,
    HOSTILE_IDS,
    SAFE_IDS,
    exact,
)


def from_elsewhere(
    bench: Bench, session_id: str = ID, state: dict[str, Any] | None = None, **rest: Any
) -> StoredSession:
    """Returns a session that another store has kept for days; it ends in five minutes."""
    moments: dict[str, Any] = {
        "created_at": later(bench, -9_000),
        "last_activity": later(bench, -3_000.003),
        "expires_at": later(bench, 5),
        "version": new_version(),
    }
    return Session(session_id, {"from": "elsewhere"} if state is None else state, **{**moments, **rest})


async def conflicts(bench: Bench, session: StoredSession, over: StoredSession | SessionInfo | None) -> None:
    """Checks that restoring is refused and says for which session."""
    [outcome] = await bench.store.commit([Step.restore(session, over)])
    assert isinstance(outcome, SessionConflictError)
    assert outcome.session_id == session.id


class Restorations(Hooks):
    """The capability `commit`."""

    @scenario(SupportsCommit)
    async def test_what_is_restored_is_as_it_was(self, bench: Bench) -> None:
        ids = SAFE_IDS[: len(AWKWARD_STATES)]
        sessions = [
            from_elsewhere(bench, session_id, state, user=state, expires_in=2.5, shape=3)
            for session_id, state in zip(ids, AWKWARD_STATES, strict=True)
        ]
        sessions.append(from_elsewhere(bench, "kit:endless", expires_at=None, expires_in=None))
        before = [dataclasses.replace(session) for session in sessions]
        assert await bench.store.commit([Step.restore(session, None) for session in sessions]) == [None] * len(sessions)
        assert sessions == before, "the sessions were stamped"
        for session in before:
            read = await bench.stored(session.id)
            assert read == session
            assert exact([read.state, read.user]) == exact([session.state, session.user])

    @scenario(SupportsCommit)
    async def test_ids_that_look_alike_keep_apart_when_restored(self, bench: Bench) -> None:
        sessions = [from_elsewhere(bench, session_id) for session_id in SAFE_IDS[::2]]
        restorations = [Step.restore(session, None) for session in sessions]
        assert await bench.store.commit(restorations) == [None] * len(sessions)
        found = [await bench.store.read(session_id) for session_id in SAFE_IDS]
        assert found[::2] == sessions
        assert found[1::2] == [None] * len(SAFE_IDS[1::2])

    @scenario(SupportsCommit)
    async def test_nothing_restored_is_nothing(self, bench: Bench) -> None:
        await bench.write()
        before = await bench.stored()
        assert await bench.store.commit([]) == []
        assert await bench.stored() == before

    @scenario(SupportsCommit)
    async def test_restoring_goes_over_what_was_found(self, bench: Bench) -> None:
        await bench.write(state={"old": 1}, user={"old": 1}, expires_in=7)
        session = from_elsewhere(bench)
        assert await bench.store.commit([Step.restore(session, await bench.stored())]) == [None]
        assert await bench.stored() == session

    @scenario(SupportsCommit, SupportsScan)
    async def test_restoring_goes_over_what_a_scan_found(self, bench: Bench) -> None:
        await bench.write(state={"old": 1})
        session = from_elsewhere(bench)
        found = (await bench.scan())[ID]
        assert await bench.store.commit([Step.restore(session, found)]) == [None]
        assert await bench.stored() == session
        assert (await bench.scan())[ID].last_activity == session.last_activity

    @scenario(SupportsCommit)
    async def test_restoring_has_an_outcome_for_each(self, bench: Bench) -> None:
        present, changed = [await bench.write(f"kit:{number}", {"by": "write"}) for number in range(2)]
        old = dataclasses.replace(changed)
        await bench.store.write(changed.id, changed)
        restorations = [
            Step.restore(from_elsewhere(bench, "kit:new"), None),
            Step.restore(from_elsewhere(bench, changed.id), old),
            Step.restore(from_elsewhere(bench, present.id), present),
            Step.restore(from_elsewhere(bench, "kit:absent"), from_elsewhere(bench, "kit:absent")),
            Step.restore(from_elsewhere(bench, "kit:last"), None),
        ]
        outcomes = await bench.store.commit(restorations)
        assert [outcome is None for outcome in outcomes] == [True, False, True, False, True]
        for restoration, outcome in zip(restorations, outcomes, strict=True):
            if outcome is None:
                assert await bench.stored(restoration.session_id) == restoration.session
            else:
                assert isinstance(outcome, SessionConflictError)
                assert outcome.session_id == restoration.session_id
        assert await bench.stored(changed.id) == changed
        assert await bench.store.read("kit:absent") is None

    @scenario(SupportsCommit)
    async def test_restoring_goes_over_nothing_that_was_not_found(self, bench: Bench) -> None:
        found = await bench.write(state={"by": "write"})
        await conflicts(bench, from_elsewhere(bench), None)
        await conflicts(bench, from_elsewhere(bench), dataclasses.replace(found, version=new_version()))
        await conflicts(bench, dataclasses.replace(found, expires_at=later(bench, 1)), None)
        assert await bench.stored() == found

    @scenario(SupportsCommit)
    async def test_restoring_does_not_bring_back_what_was_destroyed(self, bench: Bench) -> None:
        found = await bench.write()
        await bench.store.destroy(ID)
        await conflicts(bench, from_elsewhere(bench), found)
        assert await bench.store.read(ID) is None

    @scenario(SupportsCommit, SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_restoring_undoes_no_touch(self, bench: Bench) -> None:
        await bench.write()
        found = await bench.stored()
        told: StoredSession | SessionInfo = found
        if isinstance(bench.store, SupportsScan):
            told = (await bench.scan())[ID]
        await bench.age(1)
        assert await bench.store.touch(ID, later(bench, 10))
        touched = await bench.stored()
        await conflicts(bench, from_elsewhere(bench), told)
        await conflicts(bench, from_elsewhere(bench), found)
        await conflicts(bench, dataclasses.replace(found, expires_at=later(bench, 3)), found)
        assert await bench.stored() == touched
        session = dataclasses.replace(touched, expires_at=later(bench, 3))
        assert await bench.store.commit([Step.restore(session, touched)]) == [None]
        assert await bench.stored() == session

    @scenario(SupportsCommit, SupportsExpiry)
    async def test_a_restored_session_ends_at_its_own_deadline(self, bench: Bench) -> None:
        session = from_elsewhere(bench)
        await bench.store.commit([Step.restore(session, None)])
        await bench.age(4.99)
        assert await bench.stored() == session
        await bench.age(0.01)
        assert await bench.store.read(ID) is None

    @scenario(SupportsCommit, SupportsExpiry)
    async def test_what_is_restored_after_its_end_is_absent(self, bench: Bench) -> None:
        found = await bench.write()
        ended = from_elsewhere(bench, expires_at=later(bench, -1))
        await bench.store.commit([Step.restore(ended, found)])
        await bench.store.commit([Step.restore(dataclasses.replace(ended, id="kit:2"), None)])
        assert await bench.store.read(ID) is None
        assert await bench.store.read("kit:2") is None
        if isinstance(bench.store, SupportsScan):
            assert await bench.scan() == {}

    @scenario(SupportsCommit, SupportsExpiry, expires_in=10)
    async def test_restoring_takes_the_expired_for_absent(self, bench: Bench) -> None:
        leftover = await bench.write(state={"old": 1})
        await bench.age(10)
        session = from_elsewhere(bench)
        await conflicts(bench, session, leftover)
        assert await bench.store.commit([Step.restore(session, None)]) == [None]
        assert await bench.stored() == session

    @scenario(SupportsCommit, SupportsReplace)
    async def test_a_restored_session_is_replaced_by_its_version(self, bench: Bench) -> None:
        session = from_elsewhere(bench)
        await bench.store.commit([Step.restore(session, None)])
        await bench.store.replace(ID, bench.session(state={"new": 1}), expected=session.version)
        assert (await bench.stored()).state == {"new": 1}

    @scenario(SupportsCommit)
    async def test_restoring_stores_nothing_where_one_is_refused(self, bench: Bench) -> None:
        naive = datetime(2026, 11, 23)  # noqa: DTZ001 - that is what is refused
        refused = [
            from_elsewhere(bench, state={"a": [object()]}),
            from_elsewhere(bench, version=""),
            from_elsewhere(bench, created_at=naive),
            from_elsewhere(bench, last_activity=naive),
            from_elsewhere(bench, expires_at=naive),
        ]
        for session in refused:
            with pytest.raises(StateError):
                await bench.store.commit(
                    [Step.restore(from_elsewhere(bench, "kit:2"), None), Step.restore(session, None)]
                )
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.commit(
                    [
                        Step.restore(from_elsewhere(bench, "kit:2"), None),
                        Step.restore(from_elsewhere(bench, wrong), None),
                    ]
                )
        assert await bench.store.read("kit:2") is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsCommit)
    async def test_a_corrupt_session_is_not_restored_over(self, bench: Bench) -> None:
        found = await bench.write()
        await self.corrupt(bench.store, ID)
        raw = await self._raw_of(bench)
        for over in (None, dataclasses.replace(found, version="0", last_activity=found.last_activity - timedelta(1))):
            [outcome] = await bench.store.commit([Step.restore(from_elsewhere(bench), over)])
            assert isinstance(outcome, SessionConflictError | CorruptSessionError)
            assert await self._raw_of(bench) == raw

    async def _raw_of(self, bench: Bench) -> bytes:
        with pytest.raises(CorruptSessionError) as caught:
            await bench.store.read(ID)
        return caught.value.raw
