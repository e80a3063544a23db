"""Leases follow the server's clock, whatever the bots' clocks show."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from types import SimpleNamespace

import pytest
from mongo_setups import opened, run

from botsession import (
    Claim,
    Held,
    Session,
    SessionConflictError,
    Step,
)
from botsession_mongo import clock as clocks
from botsession_mongo.clock import ServerClock

ID = "telegram:42"
HOUR = 3600.0


class Times:
    """Fake clocks of this machine."""

    def __init__(self):
        self.wall = time.time()
        self.steady = 1000.0

    def time(self):
        return self.wall

    def monotonic(self):
        return self.steady

    def pass_by(self, seconds):
        self.wall += seconds
        self.steady += seconds


class Server:
    """A server with a clock of its own and slow replies."""

    def __init__(self, times, ahead, slow=()):
        self.times = times
        self.ahead = ahead - times.steady + times.wall
        self.slow = list(slow)
        self.asked = 0

    async def hello(self):
        self.asked += 1
        before, after = self.slow.pop(0) if self.slow else (0.0, 0.0)
        self.times.pass_by(before)
        answer = {"localTime": dt.datetime.fromtimestamp(self.now(), dt.UTC).replace(tzinfo=None)}
        self.times.pass_by(after)
        return answer

    def now(self):
        return self.times.steady + self.ahead


@pytest.fixture
def times(monkeypatch):
    found = Times()
    monkeypatch.setattr(clocks, "time", SimpleNamespace(time=found.time, monotonic=found.monotonic))
    return found


def differs(server, now):
    return abs(server.now() - now / 1000)


@pytest.mark.parametrize("ahead", [0, HOUR, -HOUR])
def test_the_servers_time(times, ahead):
    async def main():
        server = Server(times, ahead)
        clock = ServerClock(server.hello)
        assert differs(server, await clock.now()) < 0.002
        times.pass_by(30)
        assert differs(server, await clock.now()) < 0.002
        assert server.asked == 1
        times.pass_by(31)
        server.ahead += 0.5
        assert differs(server, await clock.now()) < 0.002
        assert server.asked == 2

    asyncio.run(main())


def test_the_quickest_of_slow_answers_counts(times):
    async def main():
        server = Server(times, HOUR, slow=[(0.5, 0), (0.1, 0.15), (0, 1)])
        assert differs(server, await ServerClock(server.hello).now()) < 0.03
        assert server.asked == 3

    asyncio.run(main())


@pytest.mark.parametrize(("wall", "steady"), [(HOUR, 0), (-HOUR, 0), (HOUR, 0.5)])
def test_a_clock_that_is_set_or_a_machine_that_slept(times, wall, steady):
    async def main():
        server = Server(times, 0)
        clock = ServerClock(server.hello)
        await clock.now()
        times.wall += wall
        times.steady += steady
        server.ahead += wall - steady
        assert differs(server, await clock.now()) < 0.002
        assert server.asked == 2

    asyncio.run(main())


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_bot_whose_clock_is_wrong(collection, api, ahead, monkeypatch):
    """If killed, it holds a lease no longer than other bots do. It never takes a lease that another bot holds."""
    wrong = SimpleNamespace(time=lambda: time.time() + ahead, monotonic=lambda: time.monotonic() + 7 * ahead)

    async def body(right):
        async with opened(collection, api) as other:
            monkeypatch.setattr(clocks, "time", wrong)
            other._connection.clock = ServerClock(other._connection.clock._hello)
            [taken] = await other.lease_many([Claim(ID, "wrong", 60, 60)])
            assert taken is None
            assert await other.renew_leases({ID: "wrong"}, 30) == [True]
            monkeypatch.undo()
            [held] = await right.lease_many([Claim(ID, "right", 60, 60)])
            assert isinstance(held, Held)
            assert 25 < held.seconds <= 30
            await right.release_leases({ID: "right"})
            await right.destroy(ID)
            assert (await right.lease_many([Claim(ID, "right", 60, 60)])) == [None]
            monkeypatch.setattr(clocks, "time", wrong)
            [held] = await other.lease_many([Claim(ID, "wrong", 60, 60)])
            assert isinstance(held, Held)
            assert 55 < held.seconds <= 60

    run(body, collection, api)


def test_a_lease_that_has_ended_stores_and_removes_nothing(collection, api):
    """No other holder has taken the lease since."""

    async def body(store):
        ids = [f"telegram:{number}" for number in range(4)]
        sessions = [Session(session_id) for session_id in ids]
        for session in sessions[:2]:
            await store.write(session.id, session)
        await store.lease_many([Claim(session_id, "a", 60, 60) for session_id in ids])
        hello = store._connection.clock._hello

        async def later():
            answer = await hello()
            return {"localTime": answer["localTime"] + dt.timedelta(seconds=61)}

        store._connection.clock = ServerClock(later)
        assert await store.renew_leases(dict.fromkeys(ids, "a"), 60) == [False] * 4
        entries = [Step.replace(session, session.version or None, "a") for session in sessions]
        outcomes = await store.commit(entries)
        outcomes += await store.commit(entries[:1]) + await store.commit(entries[2:3])
        outcomes += await store.commit([Step.remove(ids[0], holder="a"), Step.remove(ids[2], holder="a")])
        assert all(isinstance(outcome, SessionConflictError) for outcome in outcomes)
        assert [session and session.id for session in await store.read_many(ids)] == [*ids[:2], None, None]

    run(body, collection, api)
