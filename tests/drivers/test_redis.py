"""What is special about the Redis driver: how a session lies in the server, and how few commands that takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from datetime import timedelta

import pytest
from redis.asyncio import Redis, SSLConnection

import servers
from botsession import (
    ConfigError,
    CorruptSessionError,
    Session,
    SessionConflictError,
    Sessions,
    StoreError,
    open_store,
)
from botsession.protocol import (
    CAPABILITIES,
    Claim,
    Step,
    capabilities,
)
from botsession.testing import ManualClock
from botsession_redis import RedisSessionStore

ID = "telegram:42"


@contextlib.asynccontextmanager
async def opened(key_prefix=None, **options):
    """Gives an open store, and a bare client of the same server."""
    key_prefix = uuid.uuid4().hex + ":" if key_prefix is None else key_prefix
    store = RedisSessionStore(servers.redis_url(), key_prefix=key_prefix, **options)
    await store.init()
    async with Redis.from_url(servers.redis_url()) as client:
        try:
            yield store, client
        finally:
            await store.close()


async def put(store, session_id=ID, state=None, **fields):
    session = Session(session_id, state or {"count": 1}, **fields)
    await store.write(session_id, session)
    return session


async def everything(store, prefix="", limit=None):
    found, after = [], None
    while True:
        page = await store.scan(prefix, after=after, limit=limit)
        found += page.sessions
        after = page.next
        if after is None:
            return sorted({info.id for info in found})


def key_of(store, session_id=ID):
    return store._keys.session(session_id).decode()


async def milliseconds_left(store, client):
    return await client.pttl(key_of(store))


async def server_deadline(client, key):
    """Returns when the server removes a key; `PEXPIRETIME` is unknown to Redis 6.2."""
    (seconds, microseconds), left = await client.pipeline().time().pttl(key).execute()
    return pytest.approx(seconds * 1000 + microseconds / 1000 + left, abs=5)


def milliseconds(moment):
    return round(moment.timestamp() * 1000)


def test_powers():
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


def test_a_record_that_a_tool_has_reformatted_keeps_working():
    async def main():
        async with opened() as (store, client):
            session = await put(store)
            record = json.loads(await client.get(key_of(store)))
            await client.set(key_of(store), json.dumps(record, indent=2))
            assert await store.touch(ID, store.lifetime.now() + timedelta(minutes=1))
            read = await store.read(ID)
            assert read.state == session.state
            with pytest.raises(SessionConflictError):
                await store.replace(ID, read, expected="0" * 16)
            await store.replace(ID, read, expected=session.version)

    asyncio.run(main())


async def commands(monitor, client):
    """Returns the names of the commands since the last call; those inside of scripts do not count."""
    await client.echo("mark")
    names = []
    while True:
        command = await monitor.next_command()
        if command["command"] == "ECHO mark":
            return names
        if command["client_type"] != "lua":
            names.append(command["command"].split()[0])


def test_one_command_for_each_operation():
    async def main():
        async with opened() as (store, client), client.monitor() as monitor:
            session = await put(store)
            await store.replace(ID, session, expected=session.version)
            await store.touch(ID, None)
            await store.read_many([ID, "telegram:1"])
            await store.renew_leases({ID: "a"}, 5)
            await store.commit([Step.remove("telegram:1")])
            await commands(monitor, client)

            for operation, expected in [
                (lambda: store.read(ID), ["GET"]),
                (lambda: store.write(ID, session), ["SET"]),
                (lambda: store.replace(ID, session, expected=session.version), ["EVALSHA"]),
                (lambda: store.touch(ID, None), ["EVALSHA"]),
                (lambda: store.read_many([ID, "telegram:1", "telegram:2"]), ["EVALSHA"]),
                (lambda: store.commit([Step.replace(Session(f"t:{i}"), None) for i in range(9)]), ["EVALSHA"]),
                (lambda: store.renew_leases({f"t:{i}": "a" for i in range(9)}, 5), ["EVALSHA"]),
                (lambda: store.commit([Step.remove(f"t:{i}") for i in range(9)]), ["EVALSHA"]),
                (lambda: store.destroy(ID), ["EVALSHA"]),
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


def test_a_key_of_another_type_is_a_corrupt_session():
    async def main():
        async with opened() as (store, client):
            await client.hset(key_of(store), "field", "value")
            await put(store, "telegram:1")
            for operation in (
                lambda: store.read(ID),
                lambda: store.replace(ID, Session(ID), expected=None),
                lambda: store.replace(ID, Session(ID), expected="0" * 16),
                lambda: store.touch(ID, None),
                lambda: store.write(ID, Session(ID)),
                lambda: store.destroy(ID),
                lambda: Sessions(store).destroy(ID),
            ):
                with pytest.raises(CorruptSessionError) as caught:
                    await operation()
                assert caught.value.session_id == ID
                assert "WRONGTYPE" in str(caught.value.__cause__)
                assert caught.value.raw
            pages = [await store.scan()]
            while pages[-1].next is not None:
                pages.append(await store.scan(after=pages[-1].next))
            assert {info.id for page in pages for info in page.sessions} == {"telegram:1"}
            assert {error.session_id for page in pages for error in page.unreadable} == {ID}
            good, bad, absent = await store.read_many(["telegram:1", ID, "telegram:2"])
            assert good.id == "telegram:1"
            assert isinstance(bad, CorruptSessionError)
            assert absent is None
            stored, refused = await store.commit([Step.replace(good, good.version), Step.replace(Session(ID), None)])
            assert stored is None
            assert isinstance(refused, CorruptSessionError)
            assert await client.hgetall(key_of(store)) == {b"field": b"value"}
            await store.quarantine(ID)
            assert await store.read(ID) is None

    asyncio.run(main())


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"\xff\xfe", b'{"version":"00"}', b'{"state":{}}'])
def test_an_unreadable_value_stays_and_is_told(raw):
    async def main():
        async with opened() as (store, client):
            await client.set(key_of(store), raw)
            for operation in (lambda: store.read(ID), lambda: store.touch(ID, None)):
                with pytest.raises(CorruptSessionError) as caught:
                    await operation()
                assert caught.value.raw == raw
            for expected in (None, "00x", ""):
                with pytest.raises(SessionConflictError):
                    await store.replace(ID, Session(ID), expected=expected)
            assert await client.get(key_of(store)) == raw

    asyncio.run(main())


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda record: json.dumps(record, sort_keys=True),
        lambda record: json.dumps({**record, "expires_at": record["expires_at"].replace("T", " ")}),
        lambda record: json.dumps(
            {**record, "expires_at": record["expires_at"].replace("T", " ")}, separators=(",", ":")
        ),
    ],
    ids=["in another order", "a blank in the deadline", "the same without blanks"],
)
def test_a_value_that_the_scripts_cannot_compare_is_unreadable_and_not_in_conflict_for_ever(spoilt):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store, initial_state={"count": 1})
            await sessions.update(ID, lambda session: session.set_state({"count": 2}))
            record = json.loads(await client.get(key_of(store)))
            laid_out = json.dumps(record).encode()
            disordered = spoilt(record).encode()
            await client.set(key_of(store), laid_out)
            await sessions.update(ID, lambda session: session.set_state({"count": 3}))
            await client.set(key_of(store), disordered)
            for operation in (sessions.read(ID), sessions.update(ID, print), store.touch(ID, None)):
                with pytest.raises(CorruptSessionError, match="does not begin with version") as caught:
                    await operation
                assert caught.value.raw == await client.get(key_of(store)) == disordered
            assert await sessions.recover(ID) is not None
            await sessions.update(ID, lambda session: session.state.setdefault("begun", "anew"))
            assert (await sessions.read(ID)).state == {"count": 1, "begun": "anew"}

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before the turn", "in the turn"])
def test_a_lease_that_is_no_text_is_none_and_concerns_no_other_session(when):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store)
            lease = key_of(store, "x:20") + "\x1f"

            async def spoil():
                await client.delete(lease)
                await client.rpush(lease, "a")

            async def turn(number):
                async with sessions.turn(f"x:{number}") as session:
                    session.state["number"] = number
                    if number == 20 and when == "in the turn":
                        await spoil()
                    await asyncio.sleep(0)

            if when == "before the turn":
                await spoil()
            outcomes = await asyncio.gather(*map(turn, range(40)), return_exceptions=True)
            if when == "in the turn":
                # Its lease was taken away, so that another turn might have begun.
                assert isinstance(outcomes.pop(20), SessionConflictError)
                assert await sessions.read("x:20") is None
                async with sessions.turn("x:20") as session:
                    session.state["number"] = 20
            assert set(outcomes) == {None}
            for number in range(40):
                assert (await sessions.read(f"x:{number}")).state == {"number": number}
            assert not await client.exists(lease)

    asyncio.run(main())


async def restored(store, _):
    assert await store.commit([Step.restore(Session(ID, {"restored": True}, version="v1"), None)]) == [None]
    return {"restored": True}


async def destroyed(store, _):
    await store.destroy(ID)


async def removed(store, _):
    assert await store.commit([Step.remove(ID)]) == [None]


async def destroyed_and_begun_again(store, _):
    await store.destroy(ID)
    [found] = await store.lease_many([Claim(ID, "next", ttl=60, again=1)])
    assert found is None


async def quarantined(store, client):
    await client.set(key_of(store), "{")
    assert await store.quarantine(ID)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("happens", [restored, destroyed, removed, destroyed_and_begun_again, quarantined])
def test_what_happens_to_a_session_while_a_turn_holds_its_lease(happens, is_new):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store)
            if not is_new:
                await put(store)
            turn = sessions.turn(ID)
            session = await turn.__aenter__()
            session.state["late"] = True
            if happens is restored and not is_new:
                await store.destroy(ID)
            state = await happens(store, client)
            if happens is quarantined and is_new:
                # Nothing was destroyed, and nothing is there: the turn goes on.
                await turn.__aexit__(None, None, None)
                state = {"late": True}
            else:
                with pytest.raises(SessionConflictError):
                    await turn.__aexit__(None, None, None)
            found = await sessions.read(ID)
            assert (None if found is None else found.state) == state
            await sessions.close()

    asyncio.run(main())


def test_prefixes_and_globs_are_plain_text():
    async def main():
        base = uuid.uuid4().hex
        ids = ["a*b:1", "axb:1", "a?b:1", "a[x]b:1", "a\\b:1", "a^b-c:1"]
        for infix in ("", "[ab]*", "\\"):
            async with opened(f"{base}{infix}?:", expires_in=1) as (store, _), opened(f"{base}{infix}x:") as (other, _):
                await put(other, "other:1")
                for session_id in ids:
                    await put(store, session_id)
                assert await everything(store) == sorted(ids)
                for session_id in ids:
                    assert await everything(store, session_id[:-1]) == [session_id]

    asyncio.run(main())


def test_a_store_whose_key_prefix_begins_with_anothers_is_not_listed_there():
    async def main():
        base = uuid.uuid4().hex
        async with opened(f"{base}:") as (outer, _), opened(f"{base}:b:") as (inner, _):
            await put(outer, "telegram:1")
            await put(inner, "telegram:2")
            assert await everything(outer) == ["telegram:1"]
            assert await everything(inner) == ["telegram:2"]
            with pytest.raises(CorruptSessionError):
                await outer.read("b:telegram:2")

    asyncio.run(main())


def test_scan_pages_through_many_and_takes_the_longest_ids():
    async def main():
        async with opened(expires_in=5) as (store, _):
            ids = [f"t:{i}" for i in range(700)] + ['"' * 512, "\\" * 512, "\N{GRINNING FACE}" * 128]
            assert await store.commit([Step.replace(Session(i, {"x": "y" * 3000}), None) for i in ids]) == [None] * 703
            assert await everything(store) == sorted(ids)
            assert await everything(store, limit=7) == sorted(ids)
            page = await store.scan(limit=50)
            assert len(page.sessions) < 200
            for after in ("", "x", "1", "-1@", "99999999999999999999999@", "0@nowhere:1"):
                with pytest.raises(StoreError):
                    await store.scan(after=after)
            assert await store.commit([Step.remove(each) for each in ids]) == [None] * len(ids)
            assert await everything(store) == []

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


def test_a_url_takes_the_place_of_host_and_port():
    store = open_store(
        "redis", url="redis://one:7000/2", host="two", port=1, username="u", password="p", db=3, key_prefix="x:"
    )
    assert repr(store) == "RedisSessionStore(redis at one:7000/2, key_prefix='x:')"
    assert "two:1" in repr(open_store("redis", host="two", port=1))
    assert "localhost:6379," in repr(RedisSessionStore())


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("valkey://u:p@one:7000/2", "one:7000/2"),
        ("VALKEY://one", "one:6379"),
        ("valkeys://one:7000/2", "one:7000/2"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock/1"),
        ("unix://u:p@/run/redis.sock", "/run/redis.sock"),
        ("redis+unix:///run/redis.sock", "/run/redis.sock"),
    ],
)
def test_urls_of_valkey_and_of_sockets(url, where):
    for store in (
        open_store(url),
        open_store({"url": url, "stores": {"redis": {"host": "h"}}}),
        RedisSessionStore(url),
    ):
        assert repr(store) == f"RedisSessionStore(redis at {where}, key_prefix='botsession:')"
        assert issubclass(store._connection._source.kind, SSLConnection) == url.startswith("valkeys")


def test_names_of_drivers_without_a_url():
    assert "at /run/redis.sock," in repr(open_store("unix", unix_socket_path="/run/redis.sock"))
    assert "at h:6379," in repr(open_store("valkey", host="h"))
    assert issubclass(open_store("valkeys", host="h")._connection._source.kind, SSLConnection)
    with pytest.raises(ConfigError, match="unix_socket_path"):
        open_store("unix")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "redis://h", "host": "h"},
        {"url": "redis://h", "db": 0},
        {"unix_socket_path": "/s", "host": "h"},
        {"url": "http://:hunter2@h"},
        {"url": "redis://user:hunter/2@h:1"},
        {"url": "redis://user:hunter2@h:port"},
        {"url": "redis://user:hunter2@h/name"},
        {"url": "redis://user:hunter2@h?no_such=1"},
        {"url": "unix://"},
        {"url": "redis://[::1:7", "timeout": 1},
        {"timeout": 0},
        {"timeout": -1},
        {"max_connections": 0},
        {"db": -1},
        {"key_prefix": ""},
        {"expires_in": 0},
        {"client": object()},
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(ConfigError) as caught:
        RedisSessionStore(**options)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_are_not_shown():
    store = RedisSessionStore("redis://user:hunter2@localhost:6379/0")
    assert "hunter2" not in repr(store)
    assert "user" not in repr(store)
