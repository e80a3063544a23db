"""Expiry as turns see it. The clock is injected, so no test sleeps."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from botsession import (
    ConfigError,
    Session,
    SessionConflictError,
    Sessions,
)
from botsession.lifetime import Lifetime, check_minutes
from botsession_operations import statistics

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, minutes):
        self.now += timedelta(minutes=minutes)


def with_sessions(scenario, **arguments):
    async def run():
        clock = Clock()
        async with Sessions("memory", clock=clock, **arguments) as sessions:
            return await scenario(sessions, clock)

    return asyncio.run(run())


async def remember(sessions, value=1):
    async with sessions.turn("telegram:42") as session:
        session.state["value"] = value


def test_a_session_ends_the_given_minutes_after_its_last_write():
    async def scenario(sessions, clock):
        await remember(sessions, 1)
        clock.advance(9)
        await remember(sessions, 2)
        clock.advance(9.99)
        assert await sessions.read("telegram:42") is not None
        clock.advance(0.01)
        assert await sessions.read("telegram:42") is None
        async with sessions.turn("telegram:42") as session:
            assert session.state == {}

    with_sessions(scenario, expires_in=10)


def test_sessions_that_are_written_together_have_one_moment_and_versions_of_their_own():
    lifetime = Lifetime(10, clock=lambda: START)
    before = START - timedelta(days=1)
    sessions = [
        Session("new"),
        Session("old", created_at=before, last_activity=before, version="1"),
        Session("short", expires_in=1),
    ]
    assert lifetime.stamp_all(sessions) == START
    assert [session.created_at for session in sessions] == [START, before, START]
    assert [session.expires_at for session in sessions] == [START + timedelta(minutes=each) for each in (10, 10, 1)]
    assert {session.last_activity for session in sessions} == {START}
    assert len({session.version for session in sessions}) == 3
    assert all(len(session.version) == 16 for session in sessions)
    assert lifetime.stamp_all([]) == START


def test_the_default_is_one_year():
    async def scenario(sessions, clock):
        await remember(sessions)
        clock.advance(525_599)
        assert await sessions.read("telegram:42") is not None
        clock.advance(1)
        assert await sessions.read("telegram:42") is None

    with_sessions(scenario)


def test_none_is_never():
    async def scenario(sessions, clock):
        await remember(sessions)
        clock.advance(100 * 525_600)
        session = await sessions.read("telegram:42")
        assert session.expires_at is None

    with_sessions(scenario, expires_in=None)


@pytest.mark.parametrize("length", [0.5, timedelta(seconds=30)])
def test_fractions_and_timedeltas_work(length):
    async def scenario(sessions, clock):
        await remember(sessions)
        clock.advance(0.49)
        assert await sessions.read("telegram:42") is not None
        clock.advance(0.01)
        assert await sessions.read("telegram:42") is None

    with_sessions(scenario, expires_in=length)


@pytest.mark.parametrize(
    "length", [0, -1, float("nan"), float("inf"), True, "10", 1e300, timedelta(0), timedelta(days=10**6), 1e-9]
)
def test_what_is_no_length_of_time_is_refused(length):
    with pytest.raises(ConfigError, match="expires_in is a number of minutes above zero"):
        check_minutes(length)


@pytest.mark.parametrize("length", [1e300, float("inf"), 1e-9, timedelta(days=10**6)])
def test_the_bounds_of_a_length_are_told(length):
    with pytest.raises(ConfigError, match="from a millisecond to a thousand years"):
        check_minutes(length)


def test_an_unchanged_turn_renews_the_deadline_once_5_percent_have_passed():
    async def scenario(sessions, clock):
        await remember(sessions)
        stored = await sessions.read("telegram:42")
        clock.advance(4.9)
        async with sessions.turn("telegram:42"):
            pass
        assert await sessions.read("telegram:42") == stored
        clock.advance(0.2)
        async with sessions.turn("telegram:42"):
            pass
        renewed = await sessions.read("telegram:42")
        assert renewed.version == stored.version
        assert renewed.last_activity == clock.now
        assert renewed.expires_at == clock.now + timedelta(minutes=100)

    with_sessions(scenario, expires_in=100)


def test_a_turn_that_began_before_the_deadline_may_end_after_it():
    async def scenario(sessions, clock):
        await remember(sessions)
        clock.advance(9.9)
        async with sessions.turn("telegram:42") as session:
            clock.advance(5)
            session.state["value"] = 2
        stored = await sessions.read("telegram:42")
        assert stored.state == {"value": 2}

    with_sessions(scenario, expires_in=10)


def test_a_turn_longer_than_the_whole_lifetime_does_not_bring_the_session_back():
    async def scenario(sessions, clock):
        await remember(sessions)
        with pytest.raises(SessionConflictError):
            async with sessions.turn("telegram:42") as session:
                clock.advance(10)
                session.state["value"] = 2
        assert await sessions.read("telegram:42") is None

    with_sessions(scenario, expires_in=10)


def test_a_session_may_carry_its_own_lifetime():
    async def scenario(sessions, clock):
        async with sessions.turn("telegram:42") as session:
            session.expires_in = 1
        async with sessions.turn("telegram:43") as session:
            session.expires_in = None
        clock.advance(1)
        assert await sessions.read("telegram:42") is None
        clock.advance(525_600)
        assert (await sessions.read("telegram:43")).expires_at is None
        with pytest.raises(ConfigError, match=r"session\.expires_in"):
            async with sessions.turn("telegram:44") as session:
                session.expires_in = -1
        with pytest.raises(ConfigError, match="got a timedelta"):
            async with sessions.turn("telegram:44") as session:
                session.expires_in = timedelta(minutes=1)

    with_sessions(scenario, expires_in=10)


def test_max_lifetime_ends_a_session_however_active_it_is():
    async def scenario(sessions, clock):
        for value in range(6):
            await remember(sessions, value)
            clock.advance(4)
        assert await sessions.read("telegram:42") is not None
        clock.advance(1)
        assert await sessions.read("telegram:42") is None

    with_sessions(scenario, expires_in=10, max_lifetime=25)


class FourMethods:
    """A store with only the four required methods: no versions, no expiry."""

    def __init__(self):
        self.kept = {}

    async def init(self):
        return self

    async def read(self, session_id):
        kept = self.kept.get(session_id)
        return None if kept is None else _copy(kept)

    async def write(self, session_id, session):
        self.kept[session_id] = _copy(session)

    async def destroy(self, session_id):
        self.kept.pop(session_id, None)


def _copy(session):
    return Session(
        session.id,
        dict(session.state),
        session.user,
        session.created_at,
        session.last_activity,
        session.expires_at,
        session.expires_in,
        session.version,
        session.shape,
    )


class AlsoReplaces(FourMethods):
    """A store that compares versions, without expiry."""

    async def replace(self, session_id, session, *, expected):
        kept = self.kept.get(session_id)
        if (None if kept is None else kept.version) != expected:
            raise SessionConflictError(session_id)
        await self.write(session_id, session)


@pytest.mark.parametrize("store_type", [FourMethods, AlsoReplaces])
def test_a_simple_store_gets_versions_expiry_and_conflicts_from_sessions(store_type):
    async def scenario():
        clock = Clock()
        async with Sessions(store_type(), expires_in=10, clock=clock) as sessions:
            await remember(sessions, 1)
            first = await sessions.read("telegram:42")
            assert first.version
            assert first.expires_at == START + timedelta(minutes=10)
            clock.advance(6)
            async with sessions.turn("telegram:42"):
                pass
            renewed = await sessions.read("telegram:42")
            assert renewed.expires_at == START + timedelta(minutes=16)
            with pytest.raises(SessionConflictError):
                async with sessions.turn("telegram:42") as session:
                    session.state["value"] = 2
                    await sessions.store.destroy("telegram:42")
            assert await sessions.read("telegram:42") is None
            await remember(sessions, 3)
            clock.advance(10)
            assert await sessions.read("telegram:42") is None
            await remember(sessions, 4)
            assert (await sessions.read("telegram:42")).state == {"value": 4}

    asyncio.run(scenario())


TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    "told",
    [
        START.replace(tzinfo=None),
        1.5,
        None,
        datetime.min.replace(tzinfo=TOKYO),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ],
    ids=["naive", "a number", "nothing", "before the year 1", "after the year 9999"],
)
def test_a_clock_without_a_zone_is_refused_wherever_it_is_asked(told):
    async def scenario():
        session = Session("telegram:42", version="a", created_at=START, last_activity=START)
        async with Sessions("memory", clock=lambda: told) as sessions:
            store = sessions.store
            for call in (
                sessions.update("telegram:42", lambda session: session.set_state({"a": 1})),
                store.write("telegram:42", session),
                store.replace("telegram:42", session, expected=None),
                statistics(store),
            ):
                with pytest.raises(ConfigError, match="the clock gave"):
                    await call
        async with Sessions(FourMethods(), clock=lambda: told) as sessions:
            with pytest.raises(ConfigError, match="the clock gave"):
                async with sessions.turn("telegram:42"):
                    raise AssertionError("the turn began")

    asyncio.run(scenario())


@pytest.mark.parametrize("store", ["memory", None])
def test_a_clock_in_another_zone_tells_the_same_moments(store):
    async def scenario():
        clock = lambda: START.astimezone(TOKYO) + timedelta(microseconds=1)  # noqa: E731 - a clock is a function
        async with Sessions(store or FourMethods(), clock=clock, expires_in=10) as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"a": 1}))
            found = await sessions.read("telegram:42")
        assert (found.created_at, found.last_activity) == (START, START)
        assert found.expires_at == START + timedelta(minutes=10)
        assert {moment.utcoffset() for moment in (found.created_at, found.last_activity, found.expires_at)} == {
            timedelta()
        }

    asyncio.run(scenario())


def test_no_deadline_is_beyond_the_last_year():
    lifetime = Lifetime(10, max_lifetime=10, clock=lambda: START)
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
    assert lifetime.deadline(Session("a", created_at=last), last) == last
