"""Servers killed or frozen under load: callers get an error in time, nothing is lost, and work resumes."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest
from faults.crew import crew, store_options, wait_until
from faults.mortal import Server

from botsession import StoreUnavailableError, open_store

TIMEOUT = 0.5
SOON_FREE = {"lease_ttl": 1.0}
LATEST = 10.0
"""Time limit for an error to reach the caller: far above the timeout, and far below the clients' own defaults."""


@pytest.mark.parametrize("outage", ["killed", "frozen"])
@pytest.mark.parametrize("driver", ["redis", "mongo"])
def test_an_outage_under_load(*, driver, outage, tmp_path, seed, scale, figures):
    times = scale(2, 60)
    ids = [f"outage:{number}" for number in range(12)]
    with Server(driver, tmp_path / "server") as server, asyncio.Runner() as runner:
        options = store_options(driver, tmp_path, server.url) | {"timeout": TIMEOUT}
        store = open_store({"driver": driver, "stores": {driver: options}})
        runner.run(store.init())
        with crew(driver, ids, tmp_path, str(seed), options=options, settings=SOON_FREE, clients=8) as bots:
            bots.start("p0")
            bots.start("p1")
            bots.go()
            for _ in range(times):
                goes_on(bots)
                if outage == "killed":
                    server.kill()
                    is_told_in_time(runner, store)
                    are_told(bots)
                    server.start()
                else:
                    with server.frozen():
                        is_told_in_time(runner, store)
                        are_told(bots)
            goes_on(bots)
            runner.run(store.read(ids[0]))
            bots.stop()
            account = bots.account()
        runner.run(store.close())
    figures(f"{driver}, server {outage} {times} times: {account}", outages=times, **account.numbers())


def test_other_credentials_after_a_restart(tmp_path, seed, figures):
    ids = [f"outage:{number}" for number in range(12)]
    with Server("redis", tmp_path / "server") as server, asyncio.Runner() as runner:
        options = store_options("redis", tmp_path, server.url) | {"timeout": TIMEOUT}
        store = open_store({"driver": "redis", "stores": {"redis": options}})
        runner.run(store.init())
        with crew("redis", ids, tmp_path, str(seed), options=options, settings=SOON_FREE, clients=8) as bots:
            bots.start("p0")
            bots.go()
            goes_on(bots)
            server.kill()
            server.start("--requirepass", "opensesame")
            assert "refused the credentials" in is_told_in_time(runner, store)
            are_told(bots)
            server.kill()
            server.start()
            goes_on(bots)
            bots.stop()
            account = bots.account()
        runner.run(store.close())
    assert "opensesame" not in str(account.examples)
    figures(f"redis, restarted with a password and without: {account}", **account.numbers())


def is_told_in_time(runner, store) -> str:
    """Check that every call of a store reports an unavailable server; return the last message."""
    for call in (partial(store.read, "outage:0"), store.ping):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError) as caught:
            runner.run(call())
        assert time.monotonic() - began < LATEST
        assert caught.value.__cause__ is not None
    return str(caught.value)


def are_told(bots) -> None:
    """Wait until the bots get the error as well."""
    before = bots.failed()
    wait_until(lambda: bots.failed() > before, bots)


def goes_on(bots) -> None:
    """Wait until turns are acknowledged again."""
    before = bots.acknowledged()
    wait_until(lambda: bots.acknowledged() >= before + 20, bots)
