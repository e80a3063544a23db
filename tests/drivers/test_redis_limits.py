"""The Redis driver at the limits of servers and clients, and with cluster nodes and Sentinels."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

import pytest
import redis_setups
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis_proxy import a_server_that_answers
from redis_setups import closing

import botsession_operations as operations
import servers
from botsession import (
    Session,
    Sessions,
    StoreError,
    StoreUnavailableError,
)
from botsession.protocol import Claim, Step
from botsession_redis import RedisSessionStore
from botsession_redis.errors import explain
from botsession_redis.pool import greeting

ID = "telegram:42"


def key_prefix():
    return uuid.uuid4().hex + ":"


def a_client(**options):
    return Redis.from_url(servers.redis_url(), **options)


def a_blocking_client(**options):
    return Redis.from_pool(BlockingConnectionPool.from_url(servers.redis_url(), **options))


SMALL_CLIENTS = {
    "pool of one": lambda: a_client(max_connections=1),
    "pool of three": lambda: a_client(max_connections=3),
    "waiting pool": lambda: a_blocking_client(max_connections=2),
    "pool that waits shortly": lambda: a_blocking_client(max_connections=2, timeout=0.001),
    "single connection": lambda: a_client(single_connection_client=True),
}


@pytest.mark.parametrize("lock", ["auto", "local"])
@pytest.mark.parametrize("kind", SMALL_CLIENTS)
def test_no_turn_fails_on_a_client_with_few_connections(kind, lock):
    async def main():
        async with SMALL_CLIENTS[kind]() as client:
            store = await RedisSessionStore(client=client, key_prefix=key_prefix()).init()
            sessions = await Sessions(store, lock=lock).init()

            async def turn(number):
                async with sessions.turn(f"t:{number}") as session:
                    session.state["number"] = number
                assert (await sessions.read(f"t:{number}")).state == {"number": number}
                assert await store.touch(f"t:{number}", None)
                await sessions.destroy(f"t:{number}")

            await asyncio.gather(*map(turn, range(100)))

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["pool of three", "pool that waits shortly"])
def test_connections_are_shared_with_the_bots_own_commands(kind):
    async def main():
        async with SMALL_CLIENTS[kind]() as client:
            pool = client.connection_pool
            store = await RedisSessionStore(client=client, key_prefix=key_prefix()).init()
            taken = [await pool.get_connection() for _ in range(pool.max_connections)]
            tasks = [asyncio.create_task(store.write(f"t:{number}", Session(f"t:{number}"))) for number in range(20)]
            await asyncio.sleep(0.02)
            assert not any(task.done() for task in tasks)
            await pool.release(taken.pop())
            await asyncio.gather(*tasks)
            for connection in taken:
                await pool.release(connection)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["pool of three", "waiting pool", "pool that waits shortly"])
def test_the_wait_for_a_connection_of_the_client_is_bounded(kind):
    async def main():
        async with SMALL_CLIENTS[kind]() as client:
            pool = client.connection_pool
            store = await RedisSessionStore(client=client, key_prefix=key_prefix(), timeout=0.1).init()
            taken = [await pool.get_connection() for _ in range(pool.max_connections)]
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="all connections of the client are in use") as caught:
                await store.read(ID)
            assert 0.1 <= time.monotonic() - began < 2
            assert isinstance(caught.value.__cause__, exceptions.ConnectionError | TimeoutError)
            for connection in taken:
                await pool.release(connection)
            assert await store.read(ID) is None

    asyncio.run(main())


def test_a_cluster_client_with_few_connections(cluster_ports):
    async def main(ports):
        async with RedisCluster(host="127.0.0.1", port=ports[0], max_connections=2) as client:
            sessions = await Sessions(
                await RedisSessionStore(client=client, key_prefix=key_prefix()).init(), lock="local"
            ).init()

            async def turn(number):
                async with sessions.turn(f"t:{number}") as session:
                    session.state["number"] = number

            await asyncio.gather(*map(turn, range(60)))
            assert len([info async for page in operations.pages(sessions.store) for info in page.sessions]) == 60

    asyncio.run(main(cluster_ports))


@contextlib.asynccontextmanager
async def full_server(*arguments, port=None):
    """Run a server with one connection to spare; yield its URL and the client that holds the other connection."""
    with servers.redis_server(*arguments, port=port) as url:
        async with Redis.from_url(url, single_connection_client=True) as admin:
            await admin.config_set("maxclients", 2)
            yield url, admin


@pytest.mark.parametrize("given", [False, True])
def test_a_server_without_connections_says_so(given):
    async def main():
        async with full_server() as (url, _), Redis.from_url(url, single_connection_client=True) as last:
            await last.ping()
            for _ in range(5):
                async with Redis.from_url(url) as client:
                    store = RedisSessionStore(client=client) if given else RedisSessionStore(url)
                    with pytest.raises(StoreUnavailableError, match="maxclients") as caught:
                        await store.init()
                    assert "UNKNOWN" not in str(caught.value)
                    assert "running" not in str(caught.value)
                    assert caught.value.__cause__ is not None

    asyncio.run(main())


def test_a_cluster_without_connections_says_so():
    async def main():
        server = full_server("--cluster-enabled", "yes", port=redis_setups.cluster_port())
        async with server as (url, _), Redis.from_url(url, single_connection_client=True) as last:
            await last.ping()
            client = RedisCluster.from_url(url)
            with pytest.raises(StoreUnavailableError, match="maxclients") as caught:
                await RedisSessionStore(client=client).init()
            assert "UNKNOWN" not in str(caught.value)
            await client.aclose()

    asyncio.run(main())


def test_a_server_that_has_no_further_connection_in_the_middle():
    async def main():
        async with full_server() as (url, admin), closing(await RedisSessionStore(url).init()) as store:
            # The store continues with its one connection.
            assert await asyncio.gather(*(store.read(f"t:{number}") for number in range(8))) == [None] * 8
            pool = store._connection._transport
            taken = pool.idle.pop()
            store._connection._time_limit._seconds = 0.1
            with pytest.raises(StoreUnavailableError, match="has no connection left to give"):
                await store.read(ID)
            store._connection._time_limit._seconds = 5
            await admin.config_set("maxclients", 100)
            assert await store.read(ID) is None
            pool.idle.append(taken)

    asyncio.run(main())


def test_the_greeting_of_a_server():
    async def main():
        async def serve(_, writer):
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            where = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
            answer = b"-DENIED Redis is running in protected mode because of this\r\n"
            assert (await greeting(where)).startswith("DENIED Redis")
            with pytest.raises(StoreUnavailableError, match="protected mode"):
                await RedisSessionStore(**where).init()
            answer = b"220 mail.example.org\r\n"
            assert await greeting(where) == ""
        assert await greeting({"host": "127.0.0.1", "port": servers.free_port()}) == ""
        assert await greeting({"path": "/no/such/socket"}) == ""

    asyncio.run(main())


REFUSALS = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), "maxmemory"),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), "too few replicas"),
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), "is a replica"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_server_refuses_inside_a_script_is_told_as_outside(name):
    command, words = REFUSALS[name]

    async def main(url):
        async with Redis.from_url(url) as admin, closing(await RedisSessionStore(url).init()) as store:
            session, held = Session(ID), Session("t:held")
            await store.write(ID, session)
            await store.lease_many([Claim("t:held", "a", ttl=60, again=1)])
            await admin.execute_command(*command)
            operations = [
                lambda: store.write(ID, Session(ID)),
                lambda: store.replace(ID, session, expected=session.version),
                lambda: store.touch(ID, None),
                lambda: store.lease_many([Claim(ID, "a", ttl=5, again=1)]),
                lambda: store.lease_many([Claim(each, "a", ttl=5, again=1) for each in ("t:1", "t:2")]),
                lambda: store.renew_leases({"t:held": "a"}, 5),
                lambda: store.commit([Step.replace(held, None, "a")]),
            ]
            if name != "OOM":
                operations += [
                    lambda: store.destroy(ID),
                    lambda: store.commit([Step.remove("t:held", holder="a")]),
                    lambda: store.release_leases({"t:held": "a"}),
                ]
            for operation in operations:
                with pytest.raises(StoreUnavailableError, match=words):
                    await operation()
            assert (await store.read(ID)).state == {}

    with servers.redis_server("--maxmemory-policy", "noeviction") as url:
        asyncio.run(main(url))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # Redis 6.2
        ("Error running script (call to f_1): @user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand", "ACL user"),
        ("Error running script (call to f_1): @user_script:1: @user_script: 1: The user executing the script can't access at least one of the keys mentioned in the command arguments", "ACL user"),
        ("Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", "maxmemory"),
        ("Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.", "is a replica"),
        ("Error running script (call to f_1): @user_script:1: @user_script: 1: -MISCONF Redis is configured to save RDB snapshots", "disk"),
        # Redis 7.0
        ("The user executing the script can't run this command or subcommand script: 1, on @user_script:1.", "ACL user"),
        # Redis 7.2 and newer, Valkey
        ("ACL failure in script: User u has no permissions to run the 'pttl' command script: 1, on @user_script:1.", "ACL user"),
        ("ACL failure in script: No permissions to access a key script: on @user_script:1.", "ACL user"),
        ("NOREPLICAS Not enough good replicas to write. script: on @user_script:1.", "replicas"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "busy"),
        ("max number of clients + cluster connections reached", "maxclients"),
    ],
)  # fmt: skip
def test_one_error_for_one_cause_on_every_server(text, words):
    error = explain(exceptions.ResponseError(text), "redis at h:1", 5)
    assert isinstance(error, StoreUnavailableError)
    assert words in str(error)


async def refused(store):
    findings = []
    async with closing(store):
        with pytest.raises(StoreError) as caught:
            await store.init()
        await operations.examine_store(store, findings.append)
    assert not isinstance(caught.value, StoreUnavailableError)
    assert [(finding.level, finding.topic) for finding in findings] == [("error", "backend")]
    assert findings[0].remedy in str(caught.value)
    return str(caught.value)


def test_a_node_of_a_cluster_is_no_server_of_its_own():
    async def main(url):
        for query in ("", "/1"):
            assert "cluster" in await refused(RedisSessionStore(url + query))
        for options in ({}, {"protocol": 3, "decode_responses": True}):
            async with Redis.from_url(url, **options) as client:
                assert "redis.asyncio.RedisCluster" in await refused(RedisSessionStore(client=client))

    with servers.redis_server("--cluster-enabled", "yes", port=redis_setups.cluster_port()) as url:
        asyncio.run(main(url))


def test_a_sentinel_is_no_server():
    async def main(port):
        for query in ("", "/1"):
            assert "master_for" in await refused(RedisSessionStore(f"redis://127.0.0.1:{port}{query}"))

    with redis_setups.sentinel(servers.free_port()) as port:
        asyncio.run(main(port))


def test_a_server_of_its_own_is_no_cluster():
    async def main():
        async with Redis.from_url(servers.redis_url()) as one:
            where = one.connection_pool.connection_kwargs
        client = RedisCluster(host=where["host"], port=where["port"])
        assert "is not a cluster" in await refused(RedisSessionStore(client=client))
        await client.aclose()

    asyncio.run(main())


def test_a_server_that_does_not_know_hello():
    async def main():
        async with (
            a_server_that_answers({b"PING": b"+PONG\r\n"}) as (port, _),
            closing(RedisSessionStore(host="127.0.0.1", port=port)) as store,
        ):
            await store.init()
            await store.ping()

    asyncio.run(main())
