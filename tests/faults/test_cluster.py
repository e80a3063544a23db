"""A three-node cluster whose slots move under load."""

from __future__ import annotations

import asyncio
import contextlib
import time

import redis_setups
from faults.company import INITIAL_STATE, Company
from redis.asyncio import Redis, RedisCluster

from botsession import Sessions
from botsession_redis import RedisSessionStore

SECONDS = 60
IDS = [f"moving:{number}" for number in range(60)]
PREFIX = "botsession:"


class Nodes:
    """The nodes of a cluster and their slots."""

    def __init__(self, clients):
        self.clients = clients
        self.moves = self.keys = 0

    async def begin(self):
        self.names = {
            port: (await client.execute_command("CLUSTER MYID")).decode() for port, client in self.clients.items()
        }

    async def owner(self, slot):
        client = next(iter(self.clients.values()))
        for first, last, (_, port, *_), *_ in await client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return port
        raise AssertionError(f"no node has slot {slot}")

    async def move(self, slot, source, target, pause):
        """Move a slot key by key as `redis-cli --cluster reshard` does, pausing for other clients in each state."""
        here, there = self.clients[source], self.clients[target]
        await there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.names[source])
        await here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.names[target])
        await asyncio.sleep(pause)
        while keys := await here.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            await here.execute_command("MIGRATE", "127.0.0.1", target, "", 0, 1000 * SECONDS, "KEYS", *keys)
            self.keys += len(keys)
            await asyncio.sleep(pause)
        for port in (target, source, *self.clients):
            await self.clients[port].execute_command("CLUSTER SETSLOT", slot, "NODE", self.names[target])
        self.moves += 1


@contextlib.asynccontextmanager
async def administered(ports):
    async with contextlib.AsyncExitStack() as stack:
        nodes = Nodes({port: await stack.enter_async_context(Redis(port=port)) for port in ports})
        await nodes.begin()
        yield nodes


def test_slots_that_move_back_and_forth_under_load(seed, chance, scale, figures):
    async def main(ports):
        async with administered(ports) as nodes, RedisCluster(host="127.0.0.1", port=ports[0]) as client:
            store = await RedisSessionStore(client=client, key_prefix=PREFIX).init()
            sessions = Sessions(store, initial_state=INITIAL_STATE)
            slots = sorted({client.keyslot(PREFIX + session_id) for session_id in IDS})
            began = time.monotonic()
            async with Company(sessions, IDS, 16, seed) as company:
                await company.until_more(50)
                for _ in range(scale(60, 2000)):
                    slot = chance.choice(slots)
                    source = await nodes.owner(slot)
                    target = chance.choice([port for port in ports if port != source])
                    await nodes.move(slot, source, target, chance.uniform(0, 0.02))
                await company.until_more(50)
                account = await company.account()
            await sessions.close()
            await store.close()
            seconds = time.monotonic() - began
            return f"{nodes.moves} slots and {nodes.keys} keys moved: {account}, {seconds:.1f} s"

    with redis_setups.cluster() as ports:
        moved = asyncio.run(asyncio.wait_for(main(ports), 5 * SECONDS))
        figures(f"redis, a cluster of three, {moved}")
