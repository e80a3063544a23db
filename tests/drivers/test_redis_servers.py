"""The Redis driver with every kind of server and client: passwords, ACL users, sockets, Cluster, Sentinel, ready clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import re
import shlex
import tempfile
import time
import uuid

import pytest
import redis_setups
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

import servers
from botsession import (
    CorruptSessionError,
    Session,
    SessionConflictError,
    Sessions,
    StoreError,
    StoreUnavailableError,
    operations,
)
from botsession.protocol import Claim, Held, Removal, Replacement, Restoration
from botsession_redis import RedisSessionStore

ID = "telegram:42"


async def everything(store, limit=None):
    found, after = [], None
    while True:
        page = await store.scan(after=after, limit=limit)
        found += page.sessions
        after = page.next
        if after is None:
            return sorted({info.id for info in found})


async def exercise(store):
    """Uses every method once, and a little more."""
    await store.init()
    await store.ping()
    ids = sorted(f"t:{number}" for number in range(40))
    sessions = [Session(each, {"me": each}) for each in ids]
    assert await store.replace_many([Replacement(each, None) for each in sessions]) == [None] * 40
    assert await store.read_many(ids) == sessions
    refused = await store.replace_many([Replacement(Session(each), None) for each in ids[:3]])
    assert [type(each) for each in refused] == [SessionConflictError] * 3
    assert await everything(store) == ids
    assert await everything(store, limit=3) == ids
    session = await store.read("t:7")
    await store.write("t:7", session)
    before = session.version
    await store.replace("t:7", session, expected=before)
    with pytest.raises(SessionConflictError):
        await store.replace("t:7", session, expected=before)
    assert await store.touch("t:7", None)
    assert (await store.read("t:7")).expires_at is None
    assert not await store.touch("t:absent", None)
    await store.destroy("t:7")
    assert await store.read_many(["t:7", "t:8"]) == [None, await store.read("t:8")]
    removals = [Removal(each) for each in ids]
    assert await store.destroy_many(removals) == [None] * 40
    assert await everything(store) == []


@contextlib.contextmanager
def server_with(*arguments):
    with servers.redis_server(*arguments) as url:
        yield int(url.rpartition(":")[2])


async def refused(*arguments, **options):
    with pytest.raises(StoreUnavailableError) as caught:
        await RedisSessionStore(*arguments, **options).init()
    message = str(caught.value)
    assert "hunter2" not in message
    assert caught.value.__cause__ is not None
    return message


def test_passwords():
    async def main(port):
        assert "refused the credentials" in await refused(port=port)
        assert "refused the credentials" in await refused(f"redis://:wrong-hunter2@localhost:{port}")
        assert "refused the credentials" in await refused(port=port, username="nobody", password="wrong-hunter2")
        for store in (
            RedisSessionStore(port=port, password="hunter2/ä"),
            RedisSessionStore(f"redis://:hunter2%2F%C3%A4@localhost:{port}/3"),
        ):
            await exercise(store)
            await store.close()

    with server_with("--requirepass", "hunter2/ä") as port:
        asyncio.run(main(port))


PAGE = pathlib.Path(__file__).parents[2] / "docs/how-to/redis.md"


def documented_user(name="bot", *, cluster=False):
    """Returns the arguments of ACL SETUSER that the page gives an operator, for a password of these tests."""
    [rule] = re.findall(r"redis-cli ACL SETUSER (.*)", PAGE.read_text(encoding="utf-8"))
    _, *rules = shlex.split(rule)
    if cluster:
        [rights] = re.findall(r"`([^`]*)` for the client of a cluster", PAGE.read_text(encoding="utf-8"))
        rules += rights.split()
    return ["ACL", "SETUSER", name, "reset", *(">hunter2" if each.startswith(">") else each for each in rules)]


async def exercise_all(store, spoil):
    """Does with a store whatever turns, operators and the doctor do."""
    await exercise(store)
    sessions = await Sessions(store).init()

    async def count():
        async with sessions.turn(ID) as session:
            session.state["count"] = session.state.get("count", 0) + 1

    await asyncio.gather(*(count() for _ in range(4)))
    first, second, third = (Claim(ID, holder, ttl=5, again=2) for holder in "abc")
    [found] = await store.lease_many([first])
    assert found.state == {"count": 4}
    for waiting in (second, third):
        [held] = await store.lease_many([waiting])
        assert isinstance(held, Held)
    assert await store.renew_leases({ID: "a", "t:none": "a"}, 5) == [True, False]
    before = found.version
    [refused] = await store.replace_many([Replacement(found, before, "b")])
    assert isinstance(refused, SessionConflictError)
    assert await store.replace_many([Replacement(found, before, "a")]) == [None]
    [found] = await store.lease_many([second])
    await store.release_leases({ID: "c"})
    [refused] = await store.destroy_many([Removal(ID, "another version", "b")])
    assert isinstance(refused, SessionConflictError)
    restored = Session("t:restored", version="v1")
    assert await store.restore_many([Restoration(restored, None)]) == [None]
    assert await store.restore_many([Restoration(restored, restored)]) == [None]
    assert (await operations.statistics(store)).sessions == 2
    assert await store.destroy_many([Removal(ID, found.version, "b"), Removal("t:restored")]) == [None] * 2
    await spoil("t:spoilt")
    with pytest.raises(CorruptSessionError):
        await sessions.read("t:spoilt")
    assert await sessions.recover("t:spoilt")
    findings = []
    await operations.examine_store(store, findings.append)
    assert "access" in {finding.topic for finding in findings}
    return {finding.level for finding in findings}


def test_the_documented_acl_user_can_do_everything():
    async def main(port):
        async with Redis(port=port) as admin:
            await admin.execute_command(*documented_user())
            store = RedisSessionStore(f"redis://bot:hunter2@localhost:{port}")
            spoil = lambda session_id: admin.set(store._keys.session(session_id), b"{")  # noqa: E731 - it needs the store
            assert await exercise_all(store, spoil) == {"ok", "unknown"}
            await admin.execute_command("ACL", "SETUSER", "bot", "+info", "+config|get")
            levels = {finding.level for finding in await store.diagnose()}
            assert levels <= {"ok", "warning"}
            await store.close()

    with server_with() as port:
        asyncio.run(main(port))


def test_the_documented_acl_user_of_a_cluster():
    async def main(ports):
        for port in ports:
            async with Redis(port=port) as admin:
                await admin.execute_command(*documented_user(cluster=True))
        async with (
            RedisCluster(host="127.0.0.1", port=ports[0]) as admin,
            RedisCluster(host="127.0.0.1", port=ports[0], username="bot", password="hunter2") as client,
        ):
            store = RedisSessionStore(client=client)
            spoil = lambda session_id: admin.set(store._keys.session(session_id), b"{")  # noqa: E731 - it needs the store
            assert await exercise_all(store, spoil) == {"ok", "unknown"}
            await store.close()

    with redis_setups.cluster() as ports:
        asyncio.run(main(ports))


@pytest.mark.parametrize(
    "right", ["get", "pttl", "time", "set", "unlink", "evalsha", "eval", "type", "rename", "strlen"]
)
def test_a_right_that_is_missing_is_named_as_such(right):
    async def main():
        async with Redis.from_url(servers.redis_url()) as admin:
            user = f"bot-{uuid.uuid4().hex}"
            await admin.execute_command(*documented_user(user), f"-{right}")
            prefix = f"botsession:{uuid.uuid4().hex}:"
            address = servers.redis_url().rpartition("@")[2].removeprefix("redis://")
            store = RedisSessionStore(f"redis://{user}:hunter2@{address}", key_prefix=prefix)
            try:
                await admin.set(f"{prefix}t:spoilt", b"{")
                await admin.execute_command("SCRIPT", "FLUSH")
                with pytest.raises(StoreUnavailableError, match="ACL user") as caught:
                    await exercise_rights(store)
                assert caught.value.__cause__ is not None
            finally:
                await store.close()
                await admin.execute_command("ACL", "DELUSER", user)

    async def exercise_rights(store):
        await store.init()
        await store.lease_many([Claim(ID, "a", ttl=5, again=2)])
        [outcome] = await store.lease_many([Claim(ID, "b", ttl=5, again=2)])
        for error in (outcome, *await store.replace_many([Replacement(Session(ID), None, "a")])):
            if isinstance(error, Exception):
                raise error
        await store.release_leases({ID: "b"})
        await store.quarantine("t:spoilt")
        await store.scan()

    asyncio.run(main())


def test_keys_that_a_user_may_not_touch():
    async def main():
        async with Redis.from_url(servers.redis_url()) as admin:
            user = f"bot-{uuid.uuid4().hex}"
            await admin.execute_command(*documented_user(user))
            address = servers.redis_url().rpartition("@")[2].removeprefix("redis://")
            store = RedisSessionStore(f"redis://{user}:hunter2@{address}", key_prefix="other:")
            try:
                await store.init()
                for operation in (
                    lambda: store.read(ID),
                    lambda: store.replace(ID, Session(ID), expected=None),
                    lambda: store.read_many([ID]),
                    lambda: store.destroy(ID),
                    lambda: store.destroy_many([Removal(ID)]),
                    lambda: store.renew_leases({ID: "a"}, 5),
                    lambda: store.lease_many([Claim(ID, "a", ttl=5, again=2)]),
                ):
                    with pytest.raises(StoreUnavailableError, match="ACL user"):
                        await operation()
                await store.close()
                await admin.execute_command("ACL", "SETUSER", user, "-ping")
                with pytest.raises(StoreUnavailableError, match="ACL user"):
                    await store.init()
            finally:
                await store.close()
                await admin.execute_command("ACL", "DELUSER", user)

    asyncio.run(main())


def test_a_unix_socket():
    async def main(path):
        for options in (
            {"unix_socket_path": path, "username": "default", "password": "hunter2", "db": 2},
            {"url": f"unix://default:hunter2@{path}?db=2"},
        ):
            store = RedisSessionStore(**options)
            await exercise(store)
            assert f"{path}/2" in repr(store)
            await store.close()
        assert "refused the credentials" in await refused(unix_socket_path=path)
        assert "does not answer" in await refused(unix_socket_path=path + "x")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - the option is a str
        with server_with("--unixsocket", path, "--requirepass", "hunter2"):
            asyncio.run(main(path))


def test_a_full_server():
    async def main(port):
        async with Redis(port=port) as admin:
            store = await RedisSessionStore(port=port).init()
            session = Session(ID)
            await store.write(ID, session)
            await admin.config_set("maxmemory", "1")
            for operation in (
                lambda: store.write(ID, Session(ID)),
                lambda: store.replace(ID, session, expected=session.version),
                lambda: store.touch(ID, None),
            ):
                with pytest.raises(StoreUnavailableError, match="maxmemory"):
                    await operation()
            assert (await store.read(ID)).state == {}
            await store.destroy(ID)
            await store.close()

    with server_with("--maxmemory-policy", "noeviction") as port:
        asyncio.run(main(port))


def test_a_replica():
    async def main(port):
        async with Redis(port=port) as admin:
            store = await RedisSessionStore(port=port).init()
            await admin.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
            for operation in (
                lambda: store.write(ID, Session(ID)),
                lambda: store.replace(ID, Session(ID), expected=None),
                lambda: store.destroy(ID),
            ):
                with pytest.raises(StoreUnavailableError, match="replica"):
                    await operation()
            await store.close()

    with server_with() as port:
        asyncio.run(main(port))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decode_responses": True},
        {"protocol": 3, "decode_responses": True},
        {"protocol": 2},
        {"encoding": "latin-1"},
    ],
)
def test_a_ready_client_is_used_and_never_closed(options):
    async def main():
        async with Redis.from_url(servers.redis_url(), **options) as client:
            prefix = uuid.uuid4().hex + ":"
            store = RedisSessionStore(client=client, key_prefix=prefix)
            await exercise(store)
            await store.write("t:ü", Session("t:ü"))
            await client.execute_command("SET", f"{prefix}{ID}".encode(), b"\xff")
            with pytest.raises(CorruptSessionError) as caught:
                await store.read(ID)
            assert caught.value.raw == b"\xff"
            await store.destroy(ID)
            assert await everything(store) == ["t:ü"]
            before = len(client.connection_pool._available_connections)
            await store.close()
            assert before == len([each for each in client.connection_pool._available_connections if each.is_connected])
            assert await client.ping()

    asyncio.run(main())


def test_sentinel():
    async def main(port, sentinel_port):
        sentinel = Sentinel([("127.0.0.1", sentinel_port)])
        async with sentinel.master_for("bots") as client:
            store = RedisSessionStore(client=client)
            deadline = time.monotonic() + 20
            while True:
                try:
                    await store.init()
                    break
                except StoreUnavailableError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
            await exercise(store)
            await store.close()
        for each in sentinel.sentinels:
            await each.aclose()

    with server_with() as port, redis_setups.sentinel(port) as sentinel_port:
        asyncio.run(main(port, sentinel_port))


def test_cluster():
    async def main(ports):
        async with RedisCluster(host="127.0.0.1", port=ports[0]) as client:
            store = RedisSessionStore(client=client)
            await exercise(store)
            await client.flushall(target_nodes=RedisCluster.PRIMARIES)
            await client.execute_command("SCRIPT FLUSH", target_nodes=RedisCluster.PRIMARIES)
            session = Session(ID)
            await store.replace(ID, session, expected=None)
            await client.hset("botsession:t:wrong", "field", "value")
            one, wrong = await store.read_many([ID, "t:wrong"])
            assert one == session
            assert isinstance(wrong, CorruptSessionError)
            await store.destroy("t:wrong")
            page = await store.scan(limit=1)
            assert page.next
            with pytest.raises(StoreError, match="cluster has changed"):
                await store.scan(after="0@127.0.0.1:1")
            clocks = [finding for finding in await store.diagnose() if finding.topic == "clock"]
            assert [finding.level for finding in clocks] == ["ok"] * 3
            await store.close()
            assert await client.ping(target_nodes=RedisCluster.PRIMARIES)

    with redis_setups.cluster() as ports:
        asyncio.run(main(ports))
