"""Concurrent calls lose, tear and resurrect nothing, and a cancelled call leaves no damage."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any

from botsession.errors import SessionConflictError
from botsession.lifetime import new_version
from botsession.protocol import (
    Step,
    SupportsCommit,
    SupportsExpiry,
    SupportsPurge,
    SupportsReplace,
    SupportsTouch,
)
from botsession.sessions import Sessions
from botsession.testing.bench import (
    ID,
    Bench,
    opened,
    scenario,
)
from botsession.testing.calls import REMOVING, WRITING, calls, cancel_after
from botsession.testing.hooks import Hooks
from botsession.testing.processes import (
    copy,
    count_up,
    in_processes,
    increment,
)

ROUNDS = 20


class Concurrency(Hooks):
    """Concurrent tasks, stores and processes."""

    @scenario()
    async def test_concurrent_writes_of_different_sessions(self, bench: Bench) -> None:
        ids = [f"kit:{number}" for number in range(64)]
        await asyncio.gather(*(bench.write(session_id, {"of": session_id}) for session_id in ids))
        found = await asyncio.gather(*(bench.stored(session_id) for session_id in ids))
        assert [session.state for session in found] == [{"of": session_id} for session_id in ids]

    @scenario()
    async def test_a_read_during_writes_is_never_torn(self, bench: Bench) -> None:
        async def write(number: int) -> None:
            for again in range(5):
                n = number * 10 + again
                await bench.write(state={"first": n, "filling": [n] * 500, "last": n})

        async def read() -> None:
            for _ in range(20):
                state = (await bench.stored()).state
                assert set(state["filling"]) == {state["first"]} == {state["last"]}

        await write(0)
        await asyncio.gather(*(write(number) for number in range(4)), read(), read())

    @scenario(SupportsReplace)
    async def test_one_of_many_creates(self, bench: Bench) -> None:
        sessions = [bench.session(state={"number": number}) for number in range(16)]
        outcomes = await asyncio.gather(
            *(bench.store.replace(ID, session, expected=None) for session in sessions), return_exceptions=True
        )
        winners = [number for number, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert [type(outcome) for outcome in outcomes].count(SessionConflictError) == 15
        assert (await bench.stored()).state == {"number": winners[0]}

    @scenario(SupportsReplace)
    async def test_no_increment_is_lost(self, bench: Bench) -> None:
        await bench.write(state={"count": 0})

        async def increment_often() -> None:
            for _ in range(10):
                await count_up(bench.store, ID)

        await asyncio.gather(*(increment_often() for _ in range(8)))
        assert (await bench.stored()).state == {"count": 80}

    @scenario()
    async def test_no_turn_is_lost(self, bench: Bench) -> None:
        sessions = Sessions(bench.store, initial_state={"count": 0})

        async def take_turn(number: int) -> None:
            async with sessions.turn(f"kit:{number % 3}") as session:
                session.state["count"] += 1

        await asyncio.gather(*(take_turn(number) for number in range(30)))
        assert [(await bench.stored(f"kit:{number}")).state for number in range(3)] == [{"count": 10}] * 3

    @scenario(SupportsReplace)
    async def test_replace_during_destroy_brings_nothing_back(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            session = await bench.write()
            replacing = bench.store.replace(ID, bench.session(), expected=session.version)
            both = [replacing, bench.store.destroy(ID)]
            outcomes = await asyncio.gather(*(both if number % 2 else reversed(both)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} <= {type(None), SessionConflictError}
            assert await bench.store.read(ID) is None

    @scenario(SupportsTouch)
    async def test_touch_during_destroy_brings_nothing_back(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            await bench.write()
            both = [bench.store.touch(ID, None), bench.store.destroy(ID)]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert await bench.store.read(ID) is None

    @scenario(SupportsTouch)
    async def test_touch_during_write_undoes_nothing(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            await bench.write(state={"old": number})
            both = [bench.store.touch(ID, None), bench.store.write(ID, bench.session(state={"new": number}))]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario(SupportsCommit)
    async def test_concurrent_batches_lose_no_increment(self, bench: Bench) -> None:
        ids = ["kit:1", "kit:2"]
        for session_id in ids:
            await bench.write(session_id, {"count": 0})
        stored = dict.fromkeys(ids, 0)

        async def increment_often() -> None:
            for _ in range(10):
                sessions = [await bench.stored(session_id) for session_id in ids]
                for session in sessions:
                    session.state["count"] += 1
                entries = [Step.replace(session, session.version) for session in sessions]
                for session_id, outcome in zip(ids, await bench.store.commit(entries), strict=True):
                    assert outcome is None or isinstance(outcome, SessionConflictError), f"the outcome is {outcome!r}"
                    stored[session_id] += outcome is None

        await asyncio.gather(*(increment_often() for _ in range(4)))
        assert {session_id: (await bench.stored(session_id)).state["count"] for session_id in ids} == stored

    @scenario(SupportsCommit)
    async def test_restore_during_write_undoes_nothing(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            found = await bench.write(state={"old": number})
            restored = dataclasses.replace(bench.session(state={"restored": number}), version=new_version())
            restored.last_activity = restored.created_at = found.last_activity
            both: list[Coroutine[Any, Any, Any]] = [
                bench.store.commit([Step.restore(restored, dataclasses.replace(found))]),
                bench.store.write(ID, bench.session(state={"new": number})),
            ]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario(SupportsPurge, SupportsExpiry, expires_in=10)
    async def test_purge_during_write_removes_nothing_living(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            await bench.write(state={"old": number})
            await bench.age(10)
            both: list[Coroutine[Any, Any, Any]] = [
                bench.store.purge(),
                bench.store.write(ID, bench.session(state={"new": number})),
            ]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario()
    async def test_a_cancelled_call_leaves_no_damage(self, bench: Bench) -> None:
        for name in calls(bench.store):
            for steps in (0, 1, 2, 3, 5, 8, 13, 21, 34):
                before = await bench.write(state={"by": "before"})
                session = bench.session(state={"by": "call"})
                call = calls(bench.store, session, before)[name]
                await cancel_after(steps, asyncio.ensure_future(call()))
                where = f"after a {name} that was cancelled at step {steps}"
                async with asyncio.timeout(min(5, self.time_limit)):
                    found = await bench.store.read(ID)
                    assert (found and found.state) in (
                        {"by": "before"},
                        {"by": "call"} if name in WRITING else {"by": "before"},
                        None if name in REMOVING else {"by": "before"},
                    ), where
                    if found and found.state == {"by": "call"} and name != "commit of a restoration":
                        assert session.version == found.version, f"the caller does not know its version, {where}"
                    await bench.write(state={"by": "after"})
                    assert (await bench.stored()).state == {"by": "after"}, where
                    await asyncio.sleep(0.005)
                    assert (await bench.stored()).state == {"by": "after"}, f"a late effect, {where}"

    @scenario(shared=True)
    async def test_two_stores_see_the_same_sessions(self, bench: Bench) -> None:
        other = await bench.open()
        await bench.write(state={"count": 1})
        assert await other.read(ID) == await bench.stored()
        await other.destroy(ID)
        assert await bench.store.read(ID) is None

    @scenario(SupportsReplace, shared=True)
    async def test_two_stores_lose_no_increment(self, bench: Bench) -> None:
        other = await bench.open()
        await bench.write(state={"count": 0})

        async def increment_often(task: int) -> None:
            for number in range(10):
                await count_up(bench.store if (task + number) % 2 else other, ID)

        await asyncio.gather(*(increment_often(task) for task in range(4)))
        assert (await bench.stored()).state == {"count": 40}

    def test_another_process_sees_the_same_sessions(self) -> None:
        with opened(self, shared=True) as (bench, run):
            run(bench.write(ID, {"count": 1}))
            in_processes(copy, self.elsewhere(bench.namespace), ID, "kit:copy")
            assert run(bench.stored("kit:copy")).state == {"count": 1}

    def test_several_processes_lose_no_increment(self) -> None:
        with opened(self, SupportsReplace, shared=True) as (bench, run):
            run(bench.write(ID, {"count": 0}))
            in_processes(increment, self.elsewhere(bench.namespace), ID, 20, processes=3)
            assert run(bench.stored()).state == {"count": 60}
