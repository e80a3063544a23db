"""A failover under load: Sentinel promotes the replica after the primary is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import redis_setups
from faults.company import INITIAL_STATE, Company
from redis import Redis
from redis.asyncio.sentinel import Sentinel

import servers
from botsession import Sessions
from botsession_redis import RedisSessionStore

SECONDS = 60
FAST = ["sentinel down-after-milliseconds bots 500", "sentinel failover-timeout bots 5000"]
IDS = [f"failover:{number}" for number in range(20)]


def wait_until(is_so):
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def a_primary_and_its_replica():
    """Yield a client of each, and the port of the Sentinel that monitors them."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(Redis.from_url(stack.enter_context(servers.redis_server())))
        port = primary.connection_pool.connection_kwargs["port"]
        url = stack.enter_context(servers.redis_server("--replicaof", "127.0.0.1", str(port)))
        replica = stack.enter_context(Redis.from_url(url))
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        sentinel_port = stack.enter_context(redis_setups.sentinel(port, *FAST))
        sentinel = stack.enter_context(Redis(port=sentinel_port))
        wait_until(lambda: sentinel.execute_command("SENTINEL REPLICAS", "bots"))
        yield primary, replica, sentinel_port


def test_a_failover_under_load(seed, scale, figures):
    """Replicated turns and turns after the failover survive, and work resumes without intervention.

    Replication is asynchronous: turns acknowledged between the last replication and the kill may be lost, but only from
    the end of the list. No turn appears twice, and none appears that no bot took.
    """

    async def main(primary, replica, sentinel_port):
        watch = Sentinel([("127.0.0.1", sentinel_port)], sentinel_kwargs={"socket_timeout": 2})
        async with watch.master_for("bots", socket_timeout=2) as client:
            store = await RedisSessionStore(client=client, timeout=3).init()
            sessions = Sessions(store, initial_state=INITIAL_STATE, lease_ttl=3)
            async with Company(sessions, IDS, 16, seed) as company:
                await company.until_more(scale(300, 10_000))
                await company.pause()
                assert primary.wait(1, 1000 * SECONDS) == 1
                replicated = time.monotonic()
                company.go_on()
                await company.until_more(100)
                os.kill(primary.info("server")["process_id"], signal.SIGKILL)
                killed = time.monotonic()
                await company.until_more(scale(300, 10_000))
                assert company.errors["StoreUnavailableError"], "no bot noticed the failover"
                assert replica.info("replication")["role"] == "master"
                account = await company.account(perhaps=(replicated, killed))
            await sessions.close()
            await store.close()
        for each in watch.sentinels:
            await each.aclose()
        return account

    with a_primary_and_its_replica() as (primary, replica, sentinel_port):
        began = time.monotonic()
        account = asyncio.run(asyncio.wait_for(main(primary, replica, sentinel_port), 5 * SECONDS))
        figures(f"redis, failover with Sentinel under load: {account}, {time.monotonic() - began:.1f} s")
