"""The Redis driver with every kind of server and client: passwords, ACL users, sockets, Cluster, Sentinel, the caller's client."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid

import pytest
import redis_setups
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis_setups import closing, everything, exercise, server_with

import servers
from botsession import (
    CorruptSessionError,
    Session,
    SessionConflictError,
    StoreError,
    StoreUnavailableError,
)
from botsession.protocol import Claim, Step
from botsession_redis import RedisSessionStore

ID = "telegram:42"


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
            async with closing(store):
                await exercise(store)

    with server_with("--requirepass", "hunter2/ä") as port:
        asyncio.run(main(port))


def test_a_unix_socket():
    async def main(path):
        for options in (
            {"unix_socket_path": path, "username": "default", "password": "hunter2", "db": 2},
            {"url": f"unix://default:hunter2@{path}?db=2"},
        ):
            async with closing(RedisSessionStore(**options)) as store:
                await exercise(store)
                assert f"{path}/2" in repr(store)
        assert "refused the credentials" in await refused(unix_socket_path=path)
        assert "does not answer" in await refused(unix_socket_path=path + "x")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - the option is a str
        with server_with("--unixsocket", path, "--requirepass", "hunter2"):
            asyncio.run(main(path))


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


def test_cluster(cluster_ports):
    async def main(ports):
        async with RedisCluster(host="127.0.0.1", port=ports[0]) as client:
            prefix = uuid.uuid4().hex + ":"
            store = RedisSessionStore(client=client, key_prefix=prefix)
            await exercise(store)
            await client.execute_command("SCRIPT FLUSH", target_nodes=RedisCluster.PRIMARIES)
            session = Session(ID)
            await store.replace(ID, session, expected=None)
            await client.hset(f"{prefix}t:wrong", "field", "value")
            one, wrong = await store.read_many([ID, "t:wrong"])
            assert one == session
            assert isinstance(wrong, CorruptSessionError)
            await client.delete(f"{prefix}t:wrong")
            for session_id in ("t:{a}b", "t:}{", "t:{}x", "t:{"):
                claim = Claim(session_id, "a", ttl=60, again=1)
                assert await store.lease_many([claim]) == [None]
                assert await store.commit([Step.replace(Session(session_id), None, "a")]) == [None]
                assert (await store.lease_many([claim]))[0].id == session_id
                await store.destroy(session_id)
                assert await store.renew_leases({session_id: "a"}, 5) == [False]
                [refused] = await store.commit([Step.replace(Session(session_id), None, "a")])
                assert isinstance(refused, SessionConflictError)
                assert await store.lease_many([claim]) == [None]
                assert await store.commit([Step.remove(session_id, holder="a")]) == [None]
            page = await store.scan(limit=1)
            assert page.next
            with pytest.raises(StoreError, match="cluster has changed"):
                await store.scan(after="0@127.0.0.1:1")
            clocks = [finding for finding in await store.diagnose() if finding.topic == "clock"]
            assert [finding.level for finding in clocks] == ["ok"] * 3
            await store.close()
            assert await client.ping(target_nodes=RedisCluster.PRIMARIES)

    asyncio.run(main(cluster_ports))
