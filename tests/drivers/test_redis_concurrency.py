"""The Redis driver with many tasks, few connections, several event loops, and a close during operations."""

from __future__ import annotations

import asyncio
import gc
import random
import uuid
import warnings

import pytest
from redis.asyncio import Redis
from redis_proxy import operations, proxied
from redis_setups import closing

import servers
from botsession import (
    Session,
    StoreError,
)
from botsession.protocol import Step
from botsession_redis import RedisSessionStore

ID = "telegram:42"


def test_a_read_that_was_cancelled_disturbs_no_other():
    async def main():
        async with closing(
            RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", max_connections=4)
        ) as store:
            await store.init()
            ids = [f"t:{number}" for number in range(20)]
            await store.commit([Step.replace(Session(each, {"me": each, "pad": "x" * 20_000}), None) for each in ids])
            chance = random.Random(5)

            async def check(session_id):
                for each in [await store.read(session_id), *await store.read_many([session_id])]:
                    assert each.state["me"] == session_id

            for _ in range(20):
                tasks = [asyncio.create_task(check(each)) for each in ids]
                for task in tasks[::2]:
                    await asyncio.sleep(chance.random() * 0.002)
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(each) for each in outcomes} <= {type(None), asyncio.CancelledError}
            async with asyncio.timeout(5):
                await asyncio.gather(*(check(each) for each in ids * 5))
            assert store._connection._places._value == 4

    asyncio.run(main())


def test_many_tasks_wait_for_few_connections():
    async def main():
        async with closing(
            RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", timeout=20)
        ) as store:
            await store.init()
            await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(1024)))
            found = await asyncio.gather(*(store.read(f"t:{number}") for number in range(1024)))
            assert [each.id for each in found] == [f"t:{number}" for number in range(1024)]
            async with Redis.from_url(servers.redis_url()) as client:
                assert int((await client.info("clients"))["connected_clients"]) < 64

    asyncio.run(main())


def test_more_waiting_than_a_ready_client_has_connections():
    async def main():
        async with Redis.from_url(servers.redis_url(), max_connections=8) as client:
            store = RedisSessionStore(client=client, max_connections=8, key_prefix=uuid.uuid4().hex + ":")
            await store.init()
            await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(512)))

    asyncio.run(main())


def test_a_second_event_loop():
    store = RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", max_connections=2)

    async def use():
        await store.init()
        await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(20)))

    async def forget():
        with pytest.raises(StoreError, match="another event loop"):
            await store.read("t:1")
        with pytest.raises(StoreError, match="another event loop"):
            await store.write("t:1", Session("t:1"))

    async def close():
        await store.close()
        await store.close()

    with warnings.catch_warnings():
        # Python warns if a loop ends before the store is closed.
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(use())
        asyncio.run(forget())
        asyncio.run(use())
        asyncio.run(close())
        asyncio.run(use())
        asyncio.run(forget())
        gc.collect()
        asyncio.run(close())
        gc.collect()


def test_concurrent_init_and_use_after_close():
    async def main():
        store = RedisSessionStore(servers.redis_url())
        assert await asyncio.gather(*(store.init() for _ in range(10))) == [store] * 10
        await store.close()
        for operation in operations(store):
            with pytest.raises(StoreError, match="not open"):
                await operation()
        await store.init()
        await store.ping()
        await store.close()

    asyncio.run(main())


def test_close_while_others_wait():
    async def main():
        async with proxied(max_connections=3) as (proxy, store):
            await store.init()
            proxy.mode = "hang"
            tasks = [asyncio.create_task(store.read(ID)) for _ in range(40)]
            await asyncio.sleep(0.01)
            pool = store._connection._transport
            await store.close()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, StoreError) for each in outcomes)
            assert pool.sockets() == []
            assert not pool.idle

    asyncio.run(main())
