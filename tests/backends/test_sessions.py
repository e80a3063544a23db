"""The guarantees that a bot author relies on, on every backend."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import backends
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mongo_setups import keeps_filters
from pymongo import MongoClient
from redis import Redis

import servers
from botsession import SessionConflictError, Sessions

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(params=backends.NAMES)
def backend(request, tmp_path):
    """The configuration of each backend in turn."""
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


@pytest.fixture(params=backends.LASTING)
def lasting_backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


def test_64_concurrent_turns_of_one_session_lose_none_and_run_in_order(backend):
    async def scenario():
        async with Sessions({**backend, "initial_state": {"seen": []}}) as sessions:

            async def turn(number):
                async with sessions.turn("telegram:42") as session:
                    session.state["seen"].append(number)

            await asyncio.gather(*map(turn, range(64)))
            return (await sessions.read("telegram:42")).state["seen"]

    assert asyncio.run(scenario()) == list(range(64))


def test_without_a_lock_a_turn_of_one_session_is_saved_or_in_conflict(backend):
    async def scenario():
        async with Sessions({**backend, "initial_state": {"seen": []}}, lock="none") as sessions:

            async def turn(number):
                async with sessions.turn("telegram:42") as session:
                    session.state["seen"].append(number)
                    await asyncio.sleep(0)
                return number

            outcomes = await asyncio.gather(*map(turn, range(32)), return_exceptions=True)
            outcomes += await asyncio.gather(*map(turn, range(32, 64)), return_exceptions=True)
            saved = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert all(isinstance(each, int | SessionConflictError) for each in outcomes)
            assert saved
            assert sorted((await sessions.read("telegram:42")).state["seen"]) == saved

    asyncio.run(scenario())


def test_turns_of_different_sessions_overlap(backend):
    async def scenario():
        async with Sessions(backend) as sessions:
            all_inside = asyncio.Barrier(16)

            async def turn(number):
                async with sessions.turn(f"telegram:{number}") as session, asyncio.timeout(20):
                    await all_inside.wait()
                    session.state["number"] = number

            await asyncio.gather(*map(turn, range(16)))
            for number in range(16):
                assert (await sessions.read(f"telegram:{number}")).state == {"number": number}

    asyncio.run(scenario())


COUNTER = """
import asyncio, json, sys
from botsession import Sessions

async def main():
    async with Sessions(json.loads(sys.argv[1])) as sessions:
        def increment(session):
            session.state["count"] = session.state.get("count", 0) + 1
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(4):
            await asyncio.gather(*(sessions.update("telegram:42", increment) for _ in range(10)))

asyncio.run(main())
"""


def test_two_processes_that_update_one_session_lose_nothing(lasting_backend):
    command = [sys.executable, "-c", COUNTER, json.dumps(lasting_backend)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0

    async def counted():
        async with Sessions(lasting_backend) as sessions:
            return (await sessions.read("telegram:42")).state

    assert asyncio.run(counted()) == {"count": 80}


def test_a_session_destroyed_during_a_turn_is_not_recreated(lasting_backend):
    async def scenario():
        async with Sessions(lasting_backend) as here, Sessions(lasting_backend) as there:
            await here.update("telegram:42", lambda session: session.set_state({"count": 1}))
            with pytest.raises(SessionConflictError):
                async with here.turn("telegram:42") as session:
                    session.state["count"] = 2
                    await there.destroy("telegram:42")
            assert await here.read("telegram:42") is None
            async with here.turn("telegram:43") as session:
                session.state["count"] = 1
                await here.destroy("telegram:43")
            assert await here.read("telegram:43") is None

    asyncio.run(scenario())


def test_a_handler_that_raises_changes_nothing(backend):
    async def scenario():
        async with Sessions(backend) as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"cart": ["tea"]}))
            before = await sessions.read("telegram:42")
            with pytest.raises(RuntimeError, match="broken handler"):
                async with sessions.turn("telegram:42") as session:
                    session.state["cart"].append("milk")
                    raise RuntimeError("broken handler")
            assert await sessions.read("telegram:42") == before

    asyncio.run(scenario())


def test_removed_keys_are_gone_after_the_next_write(backend):
    async def scenario():
        async with Sessions(backend) as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"a": 1, "b": {"c": 1, "d": 2}}))
            async with sessions.turn("telegram:42") as session:
                del session.state["a"], session.state["b"]["c"]
            assert (await sessions.read("telegram:42")).state == {"b": {"d": 2}}

    asyncio.run(scenario())


def test_generated_state_comes_back_identical(backend):
    with asyncio.Runner() as runner:
        sessions = runner.run(Sessions(backend).init())

        @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.dictionaries(st.text(), JSON, max_size=5))
        def identical(state):
            async def scenario():
                async with sessions.turn("telegram:42") as session:
                    session.state = state
                stored = await sessions.read("telegram:42")
                assert repr({} if stored is None else stored.state) == repr(state)

            runner.run(scenario())

        try:
            identical()
        finally:
            runner.run(sessions.close())


@pytest.mark.parametrize("lasting_backend", ["redis", "mongo"], indirect=True)
def test_expiry_is_in_the_servers_hands_too(lasting_backend):
    async def scenario():
        async with Sessions({**lasting_backend, "expires_in": 10}) as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"count": 1}))
            return (await sessions.read("telegram:42")).expires_at

    expires_at = asyncio.run(scenario())
    assert timedelta(minutes=9.9) < expires_at - datetime.now(UTC) <= timedelta(minutes=10)
    (options,) = lasting_backend["stores"].values()
    if lasting_backend["driver"] == "redis":
        key = f"{options['key_prefix']}telegram:42"
        with Redis.from_url(servers.redis_url()) as client:
            if int(client.info("server")["redis_version"].partition(".")[0]) >= 7:
                assert client.pexpiretime(key) == round(expires_at.timestamp() * 1000)
            else:  # Redis 6.2 does not know PEXPIRETIME.
                (seconds, microseconds), left = client.pipeline().time().pttl(key).execute()
                deadline = seconds + microseconds / 1e6 + left / 1e3
                assert deadline == pytest.approx(expires_at.timestamp(), abs=0.005)
    else:
        with MongoClient(servers.mongo_url(), tz_aware=True) as client:
            collection = client["botsession_test"][options["collection_name"]]
            assert collection.find_one({"_id": "telegram:42"})["expires_at"] == expires_at
            indexes = collection.index_information().values()
            assert any(index.get("expireAfterSeconds") == 0 for index in indexes) == keeps_filters()
