"""Moments do not depend on the time zone of the bot, and leases not on its clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from botsession.protocol import (
    Held,
    SupportsExpiry,
    SupportsLease,
    SupportsPurge,
    SupportsScan,
    SupportsTouch,
)
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
from botsession.testing.clocks import wrong_clocks
from botsession.testing.hooks import Hooks
from botsession.testing.leases import (
    LONG,
    PAST,
    SHORT,
    A,
    B,
    claim,
    is_held,
    take,
)

ZONES = ("UTC0", "KIT-13:45", "KIT+11", "CET-1CEST,M3.5.0,M10.5.0/3")
"""Time zones in POSIX notation: far ahead, far behind, and with daylight saving time."""

HOUR = 3_600


@contextlib.contextmanager
def in_zone(zone: str) -> Iterator[None]:
    """Run this process in a time zone."""
    if not hasattr(time, "tzset"):
        pytest.skip("this platform does not change its time zone while a process runs")
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


class TimeZones(Hooks):
    """Time zones and wrong clocks."""

    @scenario(SupportsExpiry)
    async def test_the_time_zone_of_the_process_changes_nothing(self, bench: Bench) -> None:
        store = bench.store
        for zone in ZONES:
            with in_zone(zone):
                bench.store = await bench.open(expires_in=10)
                written = await bench.write(state={"zone": zone})
                assert written.expires_at == later(bench, 10), zone
                for other in ZONES:
                    with in_zone(other):
                        assert await bench.stored() == written, f"written in {zone}, read in {other}"
                        if isinstance(bench.store, SupportsScan):
                            info = (await bench.scan())[ID]
                            assert info.expires_at == written.expires_at, f"written in {zone}, listed in {other}"
                            assert info.last_activity == written.last_activity, f"written in {zone}, listed in {other}"
                        if isinstance(bench.store, SupportsPurge):
                            assert await bench.store.purge() == 0, f"written in {zone}, purged in {other}"
                await bench.age(9.99)
                await bench.stored()
                await bench.age(0.01)
                assert await bench.store.read(ID) is None, zone
        bench.store = store

    @scenario(SupportsExpiry, SupportsTouch, expires_in=None)
    async def test_a_deadline_in_summer_time_is_the_same_moment(self, bench: Bench) -> None:
        with in_zone(ZONES[-1]):
            await bench.write()
            for month in range(13):
                deadline = later(bench, 1) + timedelta(days=month * 30)
                await bench.store.touch(ID, deadline)
                assert (await bench.stored()).expires_at == deadline
            now = later(bench, 0)
            fold = now.replace(year=now.year + 1, month=10, day=31, hour=0, minute=30)
            fold -= timedelta(days=(fold.weekday() + 1) % 7)  # the last Sunday, on which an hour comes twice
            for hours in range(4):
                await bench.store.touch(ID, fold + timedelta(hours=hours))
                assert (await bench.stored()).expires_at == fold + timedelta(hours=hours)

    @scenario(SupportsLease, shared=True)
    async def test_leases_do_not_depend_on_the_clocks_of_the_bots(self, bench: Bench) -> None:
        for number, seconds in enumerate((HOUR, -HOUR)):
            dead, alive = f"kit:dead{number}", f"kit:alive{number}"
            with wrong_clocks(self, seconds) as clock:
                other = await bench.open(clock=clock)
                await take(bench, A, dead, ttl=SHORT, store=other)
                await take(bench, A, alive, store=other)
            outcome = await claim(bench, B, alive)
            assert isinstance(outcome, Held), (
                f"with a clock {seconds} s ahead, the lease of a living holder was given to another"
            )
            assert LONG / 2 < outcome.seconds < LONG + 1, (
                f"with a clock {seconds} s ahead, the lease may be free in {outcome.seconds} s"
            )
            with wrong_clocks(self, seconds):
                assert await is_held(bench, alive, by=A, store=other)
        await asyncio.sleep(PAST)
        for number in range(2):
            await take(bench, B, f"kit:dead{number}")
