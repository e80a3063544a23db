"""A Redis server at its limits under load: out of memory, or with its script cache flushed."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

from faults.crew import crew, wait_until
from redis import Redis

import servers

IDS = [f"limited:{number}" for number in range(200)]


@contextlib.contextmanager
def at_work(tmp_path, seed, **plan):
    """Run a separate server with bots at work; yield an administrator's client and the bots."""
    with (
        servers.redis_server("--maxmemory-policy", "noeviction") as url,
        Redis.from_url(url) as admin,
        crew("redis", IDS, tmp_path, str(seed), options={"url": url}, **plan) as bots,
    ):
        for number in range(2):
            bots.start(f"p{number}")
        bots.go()
        yield admin, bots


def failed(bots):
    return sum(turn.get("error") is not None for turn in bots.turns().values())


def test_memory_that_is_used_up(tmp_path, seed, scale, figures):
    """Refused writes say why, stored data stays, and work resumes once there is room."""
    refusals = scale(100, 5000)
    with at_work(tmp_path, seed, clients=8, padding=60_000) as (admin, bots):
        wait_until(partial(bots.has_taken, "p0", 20), bots)
        admin.config_set("maxmemory", admin.info("memory")["used_memory"] + 1_000_000)
        wait_until(lambda: failed(bots) >= refusals, bots)
        assert admin.info("stats")["evicted_keys"] == 0
        admin.config_set("maxmemory", 0)
        before = bots.acknowledged()
        wait_until(lambda: bots.acknowledged() >= before + 100, bots)
        bots.stop()
        account = bots.account()
    assert set(account.errors) == {"StoreUnavailableError"}
    assert "Raise its maxmemory" in account.examples["StoreUnavailableError"]
    figures(f"redis, {sum(account.errors.values())} refusals for lack of memory: {account}", **account.numbers())


def test_scripts_that_the_server_forgets_all_the_time(tmp_path, seed, scale, figures):
    """The bots notice nothing."""
    turns, flushes = scale(400, 20_000), 0
    done = threading.Event()

    def flush():
        nonlocal flushes
        while not done.wait(0.002):
            admin.script_flush()
            flushes += 1

    with at_work(tmp_path, seed, clients=8) as (admin, bots):
        flusher = threading.Thread(target=flush)
        flusher.start()
        try:
            wait_until(lambda: bots.acknowledged() >= turns, bots)
        finally:
            done.set()
            flusher.join()
        bots.stop()
        account = bots.account()
    assert not account.errors, account.examples
    assert flushes >= 10
    figures(f"redis, scripts flushed {flushes} times: {account}", flushes=flushes, **account.numbers())
