"""Redis specifics: the stored form of a session, and the number of commands."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta

import pytest
from redis_setups import key_of, opened, put

import servers
from botsession import (
    Session,
    Sessions,
)
from botsession.protocol import CAPABILITIES, Step, capabilities
from botsession.testing import ManualClock
from botsession_redis import RedisSessionStore

ID = "telegram:42"


async def milliseconds_left(store, client):
    return await client.pttl(key_of(store))


async def server_deadline(client, key):
    """Return when the server removes a key; `PEXPIRETIME` is unknown to Redis 6.2."""
    (seconds, microseconds), left = await client.pipeline().time().pttl(key).execute()
    return pytest.approx(seconds * 1000 + microseconds / 1000 + left, abs=5)


def milliseconds(moment):
    return round(moment.timestamp() * 1000)


def test_capabilities():
    expected = set(CAPABILITIES) - {"purge", "lease"}
    assert set(capabilities(RedisSessionStore())) >= expected
    assert "purge" not in capabilities(RedisSessionStore())


@pytest.mark.parametrize(("minutes", "text"), [(10, "600000"), (0.5, "30000"), (525_600, "31536000000")])
def test_the_server_has_the_deadline_of_the_session(minutes, text):
    async def main():
        async with opened(expires_in=minutes) as (store, client):
            session = await put(store)
            assert milliseconds(session.expires_at) == await server_deadline(client, key_of(store))
            assert int(text) - 5000 < await milliseconds_left(store, client) <= int(text)

    asyncio.run(main())


def test_never_is_no_deadline_in_the_server():
    async def main():
        async with opened(expires_in=None) as (store, client):
            await put(store)
            assert await milliseconds_left(store, client) == -1
            session = Session("telegram:1", expires_in=1)
            await store.replace("telegram:1", session, expected=None)
            session.expires_in = None
            await store.replace("telegram:1", session, expected=session.version)
            assert await client.pttl(key_of(store, "telegram:1")) == -1

    asyncio.run(main())


def test_touch_moves_the_deadline_in_server_and_record():
    async def main():
        clock = ManualClock()
        async with opened(expires_in=10, clock=clock) as (store, client):
            before = await put(store, state={"text": '"expires_at":"x"', "big": "y" * 5000})
            clock.advance(minutes=5)
            until = store.lifetime.now() + timedelta(minutes=10)
            assert await store.touch(ID, until)
            assert milliseconds(until) == await server_deadline(client, key_of(store))
            record = json.loads(await client.get(key_of(store)))
            assert record["state"] == before.state
            assert record["version"] == before.version
            session = await store.read(ID)
            assert (session.expires_at, session.last_activity) == (until, store.lifetime.now())
            assert await store.touch(ID, None)
            assert await milliseconds_left(store, client) == -1
            assert (await store.read(ID)).expires_at is None
            assert await store.touch(ID, until)
            assert (await store.read(ID)).expires_at == until
            assert await milliseconds_left(store, client) > 0

    asyncio.run(main())


def test_a_deadline_in_the_past_leaves_nothing():
    async def main():
        clock = ManualClock()
        async with opened(expires_in=10, max_lifetime=5, clock=clock) as (store, client):
            session = await put(store)
            clock.advance(minutes=-10)
            await put(store, "telegram:2", version="old", created_at=session.created_at - timedelta(minutes=60))
            await store.replace(
                "telegram:3", Session("telegram:3", version="x", created_at=session.created_at - timedelta(minutes=60)),
                expected=None,
            )  # fmt: skip
            for session_id in ("telegram:2", "telegram:3"):
                assert await store.read(session_id) is None
                assert await client.get(key_of(store, session_id)) is None
            assert await store.touch(ID, store.lifetime.now() - timedelta(minutes=60))
            assert await client.get(key_of(store)) is None
            assert not await store.touch(ID, None)

    asyncio.run(main())


def test_what_is_stored_is_readable_json():
    async def main():
        async with opened() as (store, client):
            session = await put(store, state={"text": "grüß dich"}, user={"name": "Ann"})
            raw = await client.get(key_of(store))
            assert raw.startswith(b'{"version":"%b","expires_at":"20' % session.version.encode())
            record = json.loads(raw)
            assert list(record) == ["version", "expires_at", "last_activity", "created_at", "id", "user", "state"]
            assert (record["id"], record["state"]) == (ID, {"text": "grüß dich"})

    asyncio.run(main())


async def commands(monitor, client):
    """Return the names of the commands since the last call, except those inside scripts."""
    await client.echo("mark")
    names = []
    while True:
        command = await monitor.next_command()
        if command["command"] == "ECHO mark":
            return names
        if command["client_type"] != "lua":
            names.append(command["command"].split()[0])


def steps_of_every_kind():
    restored = Session("t:restored", version="v1")
    return [
        Step.replace(Session("t:1"), None),
        Step.restore(restored, None),
        Step.remove("t:2"),
        Step.replace(Session("t:3")),
    ]


def test_one_command_for_each_operation():
    async def main():
        async with opened() as (store, client), client.monitor() as monitor:
            session = await put(store)
            await store.replace(ID, session, expected=session.version)
            await store.touch(ID, None)
            await store.renew_leases({ID: "a"}, 5)
            await store.commit([Step.remove("telegram:1")])
            await commands(monitor, client)

            for operation, expected in [
                (lambda: store.read(ID), ["GET"]),
                (lambda: store.write(ID, session), ["SET"]),
                (lambda: store.replace(ID, session, expected=session.version), ["EVALSHA"]),
                (lambda: store.touch(ID, None), ["EVALSHA"]),
                (lambda: store.read_many([ID, "telegram:1", "telegram:2"]), ["GET"] * 3),
                (lambda: store.commit([Step.replace(Session(f"t:{i}"), None) for i in range(9)]), ["EVALSHA"]),
                (lambda: store.renew_leases({f"t:{i}": "a" for i in range(9)}, 5), ["EVALSHA"]),
                (lambda: store.commit([Step.remove(f"t:{i}") for i in range(9)]), ["EVALSHA"]),
                (lambda: store.destroy(ID), ["EVALSHA"]),
                (lambda: store.commit(steps_of_every_kind()), ["EVALSHA"]),
                (store.ping, ["PING"]),
            ]:
                await operation()
                assert await commands(monitor, client) == expected

    asyncio.run(main())


def test_scripts_survive_that_the_server_forgets_them():
    async def main():
        async with opened() as (store, client):
            session = await put(store)
            await client.script_flush()
            await store.replace(ID, session, expected=session.version)
            await client.script_flush()
            assert await store.touch(ID, None)
            await client.script_flush()
            outcomes = await store.commit([Step.replace(Session(f"t:{i}"), None) for i in range(300)])
            assert outcomes == [None] * 300
            await client.script_flush()
            found = await store.read_many([f"t:{i}" for i in range(300)])
            assert [session.id for session in found] == [f"t:{i}" for i in range(300)]

    asyncio.run(main())


def test_contended_turns_lose_nothing():
    async def worker(number):
        async with Sessions("redis", url=servers.redis_url(), key_prefix=prefix, expires_in=5) as sessions:
            for _ in range(10):
                await sessions.update(ID, lambda session: session.state.update(n=session.state.get("n", 0) + 1))

    async def main():
        await asyncio.gather(*(worker(number) for number in range(8)))
        async with opened(prefix) as (store, _):
            assert (await store.read(ID)).state == {"n": 80}

    prefix = uuid.uuid4().hex + ":"
    asyncio.run(main())
