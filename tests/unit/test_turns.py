"""Turns run one after the other, and each is saved completely or not at all."""

import asyncio

import pytest

from botsession import (
    NestedTurnError,
    SessionConflictError,
    Sessions,
    StateError,
    StoreError,
    TurnEndedError,
)
from botsession_memory import MemorySessionStore


def test_the_state_is_there_in_the_next_turn():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            for _ in range(3):
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] += 1
            return await sessions.read("telegram:42")

    session = asyncio.run(scenario())
    assert session is not None
    assert session.state == {"count": 3}


def test_64_concurrent_turns_of_one_session_lose_none_and_run_in_order():
    async def scenario():
        async with Sessions("memory", initial_state={"seen": []}) as sessions:

            async def turn(number):
                async with sessions.turn("telegram:42") as session:
                    await asyncio.sleep(0)
                    session.state["seen"].append(number)

            await asyncio.gather(*map(turn, range(64)))
            return await sessions.read("telegram:42"), len(sessions._queue)

    session, waiting = asyncio.run(scenario())
    assert session.state["seen"] == list(range(64))
    assert waiting == 0


def test_turns_of_different_sessions_overlap():
    async def scenario():
        async with Sessions("memory") as sessions:
            both = asyncio.Barrier(2)

            async def turn(session_id):
                async with sessions.turn(session_id), asyncio.timeout(5):
                    await both.wait()

            await asyncio.gather(turn("telegram:1"), turn("telegram:2"))

    asyncio.run(scenario())


def test_a_handler_that_raises_saves_nothing_and_its_exception_passes_through():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 1
            with pytest.raises(ZeroDivisionError):
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = 2
                    session.state["count"] /= 0
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"count": 1}


def test_a_cancelled_turn_saves_nothing_and_lets_the_next_one_in():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            started = asyncio.Event()

            async def slow():
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = 1
                    started.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(slow())
            await started.wait()
            waiting = asyncio.create_task(slow())
            await asyncio.sleep(0)
            waiting.cancel()
            task.cancel()
            await asyncio.gather(task, waiting, return_exceptions=True)
            async with sessions.turn("telegram:42") as session:
                assert session.state == {"count": 0}
            return len(sessions._queue)

    assert asyncio.run(scenario()) == 0


def test_a_new_session_that_was_not_changed_is_not_stored():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            async with sessions.turn("telegram:42"):
                pass
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()) is None


def test_an_unchanged_session_is_not_written_again():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 1
            before = await sessions.read("telegram:42")
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 1
            return before, await sessions.read("telegram:42")

    before, after = asyncio.run(scenario())
    assert before == after


def test_the_user_is_saved_too():
    async def scenario():
        async with Sessions("memory") as sessions:
            async with sessions.turn("telegram:42") as session:
                session.user = {"name": "Ada"}
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).user == {"name": "Ada"}


@pytest.mark.parametrize("user", [["Ada"], "Ada", 42, ("Ada",), False])
def test_a_user_that_is_no_object_is_refused_and_the_session_stays_readable(user):
    async def scenario():
        async with Sessions("memory") as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"count": 1}))
            with pytest.raises(StateError, match=r"\$\.user: a user is a JSON object or None"):
                await sessions.update("telegram:42", lambda session: setattr(session, "user", user))
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"count": 1}


@pytest.mark.parametrize("known", [False, True])
def test_a_session_destroyed_by_its_own_turn_stays_destroyed(known):
    async def scenario():
        async with Sessions("memory") as sessions:
            if known:
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = 1
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 2
                await sessions.destroy("telegram:42")
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()) is None


def test_a_session_destroyed_elsewhere_during_a_turn_stays_destroyed_and_the_turn_tells():
    async def scenario():
        async with Sessions("memory") as sessions:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 1
            with pytest.raises(SessionConflictError) as conflict:
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = 2
                    await sessions.store.destroy("telegram:42")
            assert conflict.value.session_id == "telegram:42"
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()) is None


def test_a_session_written_elsewhere_during_a_turn_is_not_overwritten():
    async def scenario():
        async with Sessions("memory") as sessions, Sessions(sessions.store, lock="local") as elsewhere:
            with pytest.raises(SessionConflictError):
                async with sessions.turn("telegram:42") as session:
                    session.state["by"] = "us"
                    async with elsewhere.turn("telegram:42") as other:
                        other.state["by"] = "them"
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"by": "them"}


def test_a_turn_inside_its_own_turn_is_refused_at_once():
    async def scenario():
        async with Sessions("memory") as sessions, sessions.turn("telegram:42"):
            async with sessions.turn("telegram:43"):
                pass
            with pytest.raises(NestedTurnError, match="telegram:42"):
                async with asyncio.timeout(5), sessions.turn("telegram:42"):
                    pass

            async def in_a_task_of_the_turn():
                async with sessions.turn("telegram:42"):
                    pass

            with pytest.raises(NestedTurnError):
                await asyncio.create_task(in_a_task_of_the_turn())

    asyncio.run(scenario())


def test_a_task_begun_in_a_turn_may_have_a_turn_after_it():
    async def scenario():
        async with Sessions("memory") as sessions:
            ended = asyncio.Event()

            async def later():
                await ended.wait()
                async with sessions.turn("telegram:42") as session:
                    session.state["later"] = True

            async with sessions.turn("telegram:42"):
                task = asyncio.create_task(later())
            ended.set()
            await task
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"later": True}


def test_a_turn_is_begun_once():
    async def scenario():
        async with Sessions("memory") as sessions:
            turn = sessions.turn("telegram:42")
            async with turn as session:
                session.state["count"] = 1
                with pytest.raises(TurnEndedError, match="was entered before"):
                    await turn.__aenter__()
                await sessions.destroy("telegram:42")
            with pytest.raises(TurnEndedError, match=r"Start another one with `sessions\.turn\(\.\.\.\)`"):
                await turn.__aenter__()
            assert await sessions.read("telegram:42") is None
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 2
            assert (await sessions.read("telegram:42")).state == {"count": 2}

    asyncio.run(scenario())


def test_set_state_and_reset_state():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0, "cart": []}) as sessions:
            async with sessions.turn("telegram:42") as session:
                session.set_state({"count": 5, "name": "Ada"})
                session.state["cart"].append("tea")
                assert session.state == {"count": 5, "cart": ["tea"], "name": "Ada"}
            async with sessions.turn("telegram:42") as session:
                session.reset_state()
                assert session.state == {"count": 0, "cart": []}
            return await sessions.read("telegram:42"), await sessions.read("telegram:43")

    session, never_seen = asyncio.run(scenario())
    assert session.state == {"count": 0, "cart": []}
    assert never_seen is None


def test_a_change_after_the_turn_is_refused():
    async def scenario():
        async with Sessions("memory") as sessions:
            async with sessions.turn("telegram:42") as session:
                pass
            with pytest.raises(TurnEndedError, match="await"):
                session.set_state({"count": 1})
            with pytest.raises(TurnEndedError):
                session.reset_state()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"cart": [{"price": object()}]}, r"\$\.state\.cart\[0\]\.price"),
        ({"at": float("nan")}, r"\$\.state\.at"),
        ({"big": 2**63}, r"\$\.state\.big"),
        ({"a b": (1, 2)}, r"\$\.state\['a b'\]"),
        ({1: 2}, r"\$\.state: the key 1"),
        ({"text": "\ud800"}, r"\$\.state\.text"),
        ([1], r"\$\.state: a state is a JSON object"),
    ],
)
def test_what_json_cannot_hold_is_refused_and_the_stored_session_stays(value, path):
    async def scenario():
        async with Sessions("memory") as sessions:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = 1
            before = await sessions.read("telegram:42")
            with pytest.raises(StateError, match=path):
                async with sessions.turn("telegram:42") as session:
                    session.state = value
            assert await sessions.read("telegram:42") == before

    asyncio.run(scenario())


def test_update_returns_what_was_saved():
    async def scenario():
        async with Sessions("memory", initial_state={"count": 0}) as sessions:
            saved = await sessions.update("telegram:42", lambda session: session.set_state({"count": 7}))
            return saved, await sessions.read("telegram:42")

    saved, stored = asyncio.run(scenario())
    assert saved.state == stored.state == {"count": 7}
    assert saved.version == stored.version


def test_update_retries_when_somebody_else_was_faster():
    async def scenario():
        async with (
            Sessions("memory", initial_state={"count": 0}) as sessions,
            Sessions(sessions.store, lock="local") as elsewhere,
        ):
            calls = 0

            async def increment(session):
                nonlocal calls
                calls += 1
                if calls < 4:
                    async with elsewhere.turn("telegram:42") as other:
                        other.state["count"] = other.state.get("count", 0) + 10
                session.state["count"] += 1

            await sessions.update("telegram:42", increment)
            return calls, await sessions.read("telegram:42")

    calls, session = asyncio.run(scenario())
    assert calls == 4
    assert session.state == {"count": 31}


def test_update_gives_up_after_a_bounded_number_of_attempts(monkeypatch):
    monkeypatch.setattr("botsession.sessions.UPDATE_ATTEMPTS", 3)

    async def scenario():
        async with Sessions("memory") as sessions, Sessions(sessions.store, lock="local") as elsewhere:
            calls = 0

            async def always_late(session):
                nonlocal calls
                calls += 1
                async with elsewhere.turn("telegram:42") as other:
                    other.state["count"] = calls
                session.state["mine"] = True

            with pytest.raises(SessionConflictError):
                await sessions.update("telegram:42", always_late)
            return calls, await sessions.read("telegram:42")

    calls, session = asyncio.run(scenario())
    assert calls == 3
    assert session.state == {"count": 3}


def test_close_waits_for_the_turns_that_are_running():
    async def scenario():
        sessions = await Sessions("memory").init()
        entered = asyncio.Event()
        leave = asyncio.Event()

        async def slow(value):
            async with sessions.turn("telegram:42") as session:
                entered.set()
                await leave.wait()
                session.state["value"] = value

        turns = [asyncio.create_task(slow(value)) for value in (1, 2)]
        await entered.wait()
        closing = [asyncio.create_task(sessions.close()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in closing)
        leave.set()
        await asyncio.gather(*turns, *closing)
        with pytest.raises(StoreError, match="not open"):
            await sessions.read("telegram:42")
        await sessions.init()
        return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"value": 2}


def test_close_inside_a_turn_is_refused():
    async def scenario():
        async with Sessions("memory") as sessions, sessions.turn("telegram:42"):
            with pytest.raises(NestedTurnError):
                await sessions.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "telegram:1"),
        ("created_at", "yesterday"),
        ("last_activity", None),
        ("expires_at", "tomorrow"),
        ("version", "another"),
        ("shape", 7),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_what_a_bot_must_not_change_is_refused(name, value, known):
    async def scenario():
        async with Sessions("memory") as sessions:
            if known:
                await sessions.update("telegram:42", lambda session: session.set_state({"count": 1}))
            with pytest.raises(StateError, match=rf"^\$\.{name}: the store sets it"):
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = 2
                    setattr(session, name, value)
            await sessions.update("telegram:42", lambda session: session.state.setdefault("count", 3))
            assert await sessions.read("telegram:1") is None
            return await sessions.read("telegram:42")

    assert asyncio.run(scenario()).state == {"count": 1 if known else 3}


def test_a_turn_before_init_says_so_once(caplog):
    async def scenario():
        with pytest.raises(StoreError, match="not open"):
            async with Sessions(MemorySessionStore()).turn("telegram:42"):
                pytest.fail("the handler ran")

    asyncio.run(scenario())
    assert caplog.text == ""
