"""A network that cuts, delays and stalls some bots' connections while other bots reach the server directly.

Acknowledged turns are stored, turns of unknown outcome are stored at most once, and every error says that the store was
unavailable or that the turn was refused.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from faults.crew import crew, store_options, wait_until
from faults.proxy import Proxy, Trouble, calm

TIMEOUT = 0.5
SOON_FREE = {"lease_ttl": 1.0}


def cuts(chance: random.Random) -> Trouble:
    """Cut every connection at some byte of its first turns."""
    return Trouble(chance.choice(["cut", "reset"]), chance.choice(["up", "down"]), chance.randint(1, 8_000))


def stalls(chance: random.Random) -> Trouble:
    """Stall every connection at some point, one in five from the start."""
    after = chance.randint(1, 30_000) if chance.random() < 0.8 else 0
    return Trouble("stall", chance.choice(["up", "down"]), after)


def slowness(chance: random.Random) -> Trouble:
    """Delay every chunk or forward a few bytes at a time, and finally cut the connection."""
    kind = chance.choice(["delay", "trickle"])
    return Trouble(kind, chance.choice(["up", "down"]), chance.randint(1, 20_000), chance.uniform(0, 0.03))


def everything(chance: random.Random) -> Trouble:
    """Choose any of these faults."""
    return chance.choice([cuts, cuts, stalls, slowness])(chance)


WITHOUT_LEASES = {"lock": "local"}
"""No leases, so that only versions decide, even after a lost reply."""

TROUBLES = {cuts: (20, 2_000), stalls: (10, 400), slowness: (10, 400), everything: (20, 1_000)}
"""Minimum number of connections with trouble, in the short run and in the long one."""


@pytest.mark.parametrize("weather", TROUBLES, ids=lambda weather: weather.__name__)
@pytest.mark.parametrize("driver", ["redis", "mongo"])
def test_nothing_is_lost_or_done_twice(*, driver, weather, tmp_path, chance, seed, scale, figures):
    options = store_options(driver, tmp_path) | {"timeout": TIMEOUT}
    ids = [f"network:{number}" for number in range(24)]
    troubles, turns, patience = scale(*TROUBLES[weather]), scale(100, 5_000), scale(180, 3_600)
    settings = WITHOUT_LEASES if weather is cuts else SOON_FREE
    with (
        proxied(options["url"], chance) as (proxy, url),
        crew(
            driver,
            ids,
            tmp_path,
            str(seed),
            options=options,
            settings=settings,
            clients=8,
            padding=2_000,
            patience=patience,
        ) as bots,
    ):
        bots.start("direct", clients=2)
        for name in ("p0", "p1"):
            bots.start(name, options=options | {"url": url})
        bots.go()
        proxy.change(weather)
        wait_until(lambda: sum(proxy.seen.values()) >= troubles, bots)
        proxy.change(calm)
        begun = bots.acknowledged()
        wait_until(lambda: bots.acknowledged() >= begun + turns, bots)
        bots.stop()
        account = bots.account()
    figures(
        f"{driver}, {sum(proxy.seen.values())} troubled connections ({weather.__name__}): {account}",
        troubles=proxy.seen,
        **account.numbers(),
    )


@pytest.mark.parametrize("driver", ["redis", "mongo"])
def test_more_bots_than_connections(*, driver, tmp_path, chance, seed, scale, figures):
    """With two slow connections for 64 bots, a bot that gets none in time receives an error."""
    options = store_options(driver, tmp_path) | {"timeout": TIMEOUT}
    ids, patience = [f"pool:{number}" for number in range(64)], scale(180, 3_600)
    with (
        proxied(options["url"], chance) as (proxy, url),
        crew(
            driver, ids, tmp_path, str(seed), options=options, settings=SOON_FREE, clients=64, patience=patience
        ) as bots,
    ):
        narrow = {"url": f"{url}?maxPoolSize=2"} if driver == "mongo" else {"url": url, "max_connections": 2}
        bots.start("p0", options=options | narrow)
        bots.go()
        proxy.change(lambda chance: Trouble("delay", seconds=chance.uniform(0.05, 0.1)))
        wait_until(lambda: bots.acknowledged() >= scale(30, 2_000), bots)
        bots.stop()
        account = bots.account()
    figures(f"{driver}, 2 slow connections for 64 tasks: {account}", **account.numbers())


@contextmanager
def proxied(url: str, chance: random.Random) -> Iterator[tuple[Proxy, str]]:
    """Run a proxy in a separate thread; yield the proxy and the URL that goes through it."""
    port = re.search(r":(\d+)", url)
    assert port is not None
    proxy = Proxy(int(port[1]), chance)
    thread = threading.Thread(target=asyncio.run, args=(proxy.serve(),))
    thread.start()
    try:
        proxy.wait_for_it()
        yield proxy, url.replace(port[0], f":{proxy.port}")
    finally:
        proxy.close()
        thread.join()
