"""The permissions of a Redis user: the documented rule suffices, and an error names a missing permission."""

from __future__ import annotations

import asyncio
import pathlib
import re
import shlex
import uuid

import pytest
from redis.asyncio import Redis, RedisCluster
from redis_setups import closing, everything, exercise, server_with

import botsession_operations as operations
import servers
from botsession import (
    CorruptSessionError,
    Session,
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
)
from botsession.protocol import (
    Claim,
    Held,
    Step,
)
from botsession_redis import RedisSessionStore

ID = "telegram:42"
PAGE = pathlib.Path(__file__).parents[2] / "docs/how-to/redis.md"


def documented_user(name="bot", *, cluster=False):
    """Return the arguments of ACL SETUSER from the page for operators, with a test password."""
    [rule] = re.findall(r"redis-cli ACL SETUSER (.*)", PAGE.read_text(encoding="utf-8"))
    _, *rules = shlex.split(rule)
    if cluster:
        [rights] = re.findall(r"`([^`]*)` for the client of a cluster", PAGE.read_text(encoding="utf-8"))
        rules += rights.split()
    return ["ACL", "SETUSER", name, "reset", *(">hunter2" if each.startswith(">") else each for each in rules)]


async def exercise_all(store, spoil):
    """Call everything on a store that turns, operators and the doctor call."""
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
    [refused] = await store.commit([Step.replace(found, before, "b")])
    assert isinstance(refused, SessionConflictError)
    assert await store.commit([Step.replace(found, before, "a")]) == [None]
    [found] = await store.lease_many([second])
    await store.release_leases({ID: "c"})
    [refused] = await store.commit([Step.remove(ID, "another version", "b")])
    assert isinstance(refused, SessionConflictError)
    restored = Session("t:restored", version="v1")
    assert await store.commit([Step.restore(restored, None)]) == [None]
    assert await store.commit([Step.restore(restored, restored)]) == [None]
    assert (await operations.statistics(store)).sessions == 2
    assert await store.commit([Step.remove(ID, found.version, "b"), Step.remove("t:restored")]) == [None] * 2
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
            async with closing(RedisSessionStore(f"redis://bot:hunter2@localhost:{port}")) as store:
                spoil = lambda session_id: admin.set(store._keys.session(session_id), b"{")  # noqa: E731 - it needs the store
                assert await exercise_all(store, spoil) == {"ok", "unknown"}
                await admin.execute_command("ACL", "SETUSER", "bot", "+info", "+config|get")
                levels = {finding.level for finding in await store.diagnose()}
                assert levels <= {"ok", "warning"}
            await admin.execute_command("ACL", "SETUSER", "bot", "+select")
            async with closing(RedisSessionStore(f"redis://bot:hunter2@localhost:{port}/1")) as store:
                await exercise(store)

    with server_with() as port:
        asyncio.run(main(port))


def test_the_documented_acl_user_of_a_cluster(cluster_ports):
    async def main(ports):
        for port in ports:
            async with Redis(port=port) as admin:
                await admin.execute_command(*documented_user(cluster=True))
        for port in ports:
            async with Redis(port=port) as admin:
                await admin.execute_command(*documented_user("poor"))
        poor = RedisCluster(host="127.0.0.1", port=ports[0], username="poor", password="hunter2")
        with pytest.raises(StoreUnavailableError, match="ACL user"):
            await RedisSessionStore(client=poor).init()
        await poor.aclose()
        async with (
            RedisCluster(host="127.0.0.1", port=ports[0]) as admin,
            RedisCluster(host="127.0.0.1", port=ports[0], username="bot", password="hunter2") as client,
        ):
            store = RedisSessionStore(client=client, key_prefix=f"botsession:{uuid.uuid4().hex}:")
            spoil = lambda session_id: admin.set(store._keys.session(session_id), b"{")  # noqa: E731 - it needs the store
            assert await exercise_all(store, spoil) == {"ok", "unknown"}
            await store.close()

    asyncio.run(main(cluster_ports))


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
        for error in (outcome, *await store.commit([Step.replace(Session(ID), None, "a")])):
            if isinstance(error, Exception):
                raise error
        await store.release_leases({ID: "b"})
        await store.quarantine("t:spoilt")
        await everything(store)

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
                    lambda: store.commit([Step.remove(ID)]),
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
