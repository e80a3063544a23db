"""Redis setups of several processes (a Sentinel, a cluster of three), and a function that exercises a whole store."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence

import pytest
from redis.asyncio import Redis

import servers
from botsession import Session, SessionConflictError
from botsession.protocol import Step
from botsession_redis import RedisSessionStore

SECONDS = 30


@contextlib.contextmanager
def sentinel(port: int, *lines: str) -> Iterator[int]:
    """Run a Sentinel that watches a primary under the name `bots`; yield the Sentinel's port.

    Args:
        port: The primary's port.
        *lines: Additional configuration lines.
    """
    with tempfile.TemporaryDirectory(prefix="botsession-sentinel-") as folder:
        path = pathlib.Path(folder, "sentinel.conf")
        path.write_text("\n".join([f"sentinel monitor bots 127.0.0.1 {port} 1", *lines, ""]))
        own_port = servers.free_port()
        command = [servers.redis_binary(), str(path), "--port", str(own_port), "--sentinel"]
        with servers._running(command, own_port, folder):
            yield own_port


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[list[int]]:
    """Run a cluster without replicas; yield the ports of its nodes."""
    with contextlib.ExitStack() as stack:
        ports = [cluster_port() for _ in range(size)]
        for port in ports:
            stack.enter_context(servers.redis_server("--cluster-enabled", "yes", port=port))
        asyncio.run(_form_cluster(ports))
        yield ports


def cluster_port() -> int:
    """Return a free port whose cluster bus port, which is 10,000 higher, is free as well."""
    while True:
        port = servers.free_port()
        if port <= 55_000:
            with contextlib.suppress(OSError), socket.socket() as bus:
                bus.bind(("127.0.0.1", port + 10_000))
                return port


async def _form_cluster(ports: Sequence[int]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Redis(host="127.0.0.1", port=port)) for port in ports]
        for index, client in enumerate(clients):
            first, last = 16384 * index // len(ports), 16384 * (index + 1) // len(ports) - 1
            await client.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
            await client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        deadline = time.monotonic() + SECONDS
        for client in clients:
            while True:
                state = await client.execute_command("CLUSTER INFO")
                if state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(len(ports)):
                    break
                assert time.monotonic() < deadline, state
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def opened(key_prefix=None, **options):
    """Yield an open store and a plain client of the same server."""
    key_prefix = uuid.uuid4().hex + ":" if key_prefix is None else key_prefix
    store = RedisSessionStore(servers.redis_url(), key_prefix=key_prefix, **options)
    await store.init()
    async with Redis.from_url(servers.redis_url()) as client:
        try:
            yield store, client
        finally:
            await store.close()


async def put(store, session_id="telegram:42", state=None, **fields):
    session = Session(session_id, state or {"count": 1}, **fields)
    await store.write(session_id, session)
    return session


def key_of(store, session_id="telegram:42"):
    return store._keys.session(session_id).decode()


@contextlib.asynccontextmanager
async def closing(store):
    """Yield a store, and close it even if the test fails, so that no other test finds its connections."""
    try:
        yield store
    finally:
        await store.close()


async def everything(store, prefix="", limit=None):
    """Return the ids of all sessions."""
    found, after = [], None
    while True:
        page = await store.scan(prefix, after=after, limit=limit)
        found += page.sessions
        after = page.next
        if after is None:
            return sorted({info.id for info in found})


async def exercise(store):
    """Call every method at least once."""
    await store.init()
    await store.ping()
    ids = sorted(f"t:{number}" for number in range(40))
    sessions = [Session(each, {"me": each}) for each in ids]
    assert await store.commit([Step.replace(each, None) for each in sessions]) == [None] * 40
    assert await store.read_many(ids) == sessions
    refused = await store.commit([Step.replace(Session(each), None) for each in ids[:3]])
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
    removals = [Step.remove(each) for each in ids]
    assert await store.commit(removals) == [None] * 40
    assert await everything(store) == []


@contextlib.contextmanager
def server_with(*arguments):
    """Run a server for this test alone; yield its port."""
    with servers.redis_server(*arguments) as url:
        yield int(url.rpartition(":")[2])
