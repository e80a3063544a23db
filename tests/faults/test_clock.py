"""A clock stepped back and forth by hours, between and inside turns: versions decide, not timestamps."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import backends
import pytest

from botsession import SessionConflictError, Sessions
from botsession.protocol import capabilities
from botsession.testing import ManualClock

DAY = 24 * 60
ID = "clock:42"


@pytest.fixture(params=backends.NAMES)
def backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


@pytest.fixture(params=backends.LASTING)
def lasting_backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


def count(session):
    session.state["count"] = session.state.get("count", 0) + 1


def step(clock, chance):
    """Move the clock by up to six hours, never more than two days away from its start."""
    hours = chance.uniform(-6, 6)
    far = abs(clock.moment + timedelta(hours=hours) - ManualClock().moment) > timedelta(days=2)
    clock.advance(minutes=-60 * hours if far else 60 * hours)


def test_steps_between_turns_and_inside_them(backend, chance, scale):
    """No turn is lost, and each deadline counts from the clock's time at the end of the turn."""
    turns = scale(60, 2000)

    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock) as sessions:
            versions = set()
            for number in range(turns):
                step(clock, chance)
                async with sessions.turn(ID) as session:
                    step(clock, chance)
                    assert session.state.get("count", 0) == number
                    count(session)
                stored = await sessions.read(ID)
                assert stored.state == {"count": number + 1}
                assert stored.last_activity == sessions.store.lifetime.now()
                assert stored.expires_at == stored.last_activity + timedelta(days=10)
                versions.add(stored.version)
            assert len(versions) == turns

    asyncio.run(main())


def test_steps_while_many_tasks_have_turns(backend, chance):
    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock) as sessions:

            async def turn(number):
                async with sessions.turn(f"clock:{number % 3}") as session:
                    step(clock, chance)
                    await asyncio.sleep(0)
                    count(session)

            await asyncio.gather(*map(turn, range(60)))
            for number in range(3):
                assert (await sessions.read(f"clock:{number}")).state == {"count": 20}

    asyncio.run(main())


@pytest.mark.parametrize("lock", ["auto", "local"])
def test_machines_whose_clocks_disagree_by_hours(lasting_backend, lock):
    """Turns of both machines are kept, whichever has the right time."""

    async def main():
        fast, slow = ManualClock(), ManualClock()
        fast.advance(minutes=300)
        slow.advance(minutes=-300)
        async with (
            Sessions(lasting_backend, expires_in=10 * DAY, clock=fast, lock=lock) as one,
            Sessions(lasting_backend, expires_in=10 * DAY, clock=slow, lock=lock) as other,
        ):
            for _ in range(5):
                await one.update(ID, count)
                await other.update(ID, count)
            assert (await one.read(ID)).state == {"count": 10}
            await asyncio.gather(*(sessions.update(ID, count) for sessions in (one, other) * 15))
            assert (await one.read(ID)) == (await other.read(ID))
            assert (await one.read(ID)).state == {"count": 40}

    asyncio.run(main())


def test_a_step_over_the_deadline_inside_a_turn(backend):
    """The session has expired for the turn, which does not resurrect it; stepping back does not undo that."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock) as sessions:
            await sessions.update(ID, count)
            with pytest.raises(SessionConflictError):
                async with sessions.turn(ID) as session:
                    session.state["count"] = 100
                    clock.advance(minutes=11 * DAY)
            assert await sessions.read(ID) is None
            clock.advance(minutes=-11 * DAY)
            left = await sessions.read(ID)
            assert left is None or left.state == {"count": 1}

    asyncio.run(main())


def test_a_step_over_the_deadline_and_back_inside_a_turn(backend):
    """Nothing read the session while it was past its deadline, so the turn is stored as usual."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock) as sessions:
            await sessions.update(ID, count)
            async with sessions.turn(ID) as session:
                clock.advance(minutes=11 * DAY)
                count(session)
                clock.advance(minutes=-11 * DAY)
            assert (await sessions.read(ID)).state == {"count": 2}

    asyncio.run(main())


def test_a_session_that_began_anew_stays_when_the_clock_is_stepped_back(backend):
    """Neither the old session nor a turn that had read it comes back."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock, lock="none") as sessions:
            await sessions.update(ID, lambda session: session.set_state({"old": True}))
            late = sessions.turn(ID)
            session = await late.__aenter__()
            session.state["late"] = True
            clock.advance(minutes=11 * DAY)
            await sessions.update(ID, lambda session: session.set_state({"new": True}))
            clock.advance(minutes=-11 * DAY)
            assert (await sessions.read(ID)).state == {"new": True}
            with pytest.raises(SessionConflictError):
                await late.__aexit__(None, None, None)
            assert (await sessions.read(ID)).state == {"new": True}

    asyncio.run(main())


def test_an_unchanged_turn_never_shortens_a_life(backend):
    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, clock=clock) as sessions:
            await sessions.update(ID, count)
            longest = (await sessions.read(ID)).expires_at
            for minutes in (-300, 120, -600, 900, 1 * DAY, -2 * DAY, 2 * DAY):
                clock.advance(minutes=minutes)
                async with sessions.turn(ID):
                    pass
                expires_at = (await sessions.read(ID)).expires_at
                assert expires_at >= longest
                longest = expires_at
            assert longest == sessions.store.lifetime.now() + timedelta(days=10)

    asyncio.run(main())


def test_the_longest_life_counts_from_the_beginning(backend):
    """Stepping back does not extend a session beyond `max_lifetime` after its creation."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, expires_in=10 * DAY, max_lifetime=20 * DAY, clock=clock) as sessions:
            await sessions.update(ID, count)
            end = (await sessions.read(ID)).created_at + timedelta(days=20)
            for minutes in (6 * DAY, 6 * DAY, -1 * DAY, 6 * DAY, -300, 300, 2 * DAY):
                clock.advance(minutes=minutes)
                await sessions.update(ID, count)
                assert (await sessions.read(ID)).expires_at <= end
            assert (await sessions.read(ID)).state == {"count": 8}
            clock.advance(minutes=1 * DAY)
            assert await sessions.read(ID) is None

    asyncio.run(main())


def test_leases_do_not_follow_the_clock(lasting_backend):
    """A lease depends only on the seconds that have really elapsed."""

    async def main():
        clock = ManualClock()
        async with (
            Sessions(lasting_backend, expires_in=10 * DAY, clock=clock) as here,
            Sessions(lasting_backend, expires_in=10 * DAY, clock=clock) as there,
        ):
            if "lease" not in capabilities(here.store):
                pytest.skip("this driver has no leases")

            async def turn(sessions, hours):
                async with sessions.turn(ID) as session:
                    clock.advance(minutes=60 * hours)
                    await asyncio.sleep(0.01)
                    assert not session.lease_lost
                    count(session)

            await asyncio.gather(*(turn(each, hours) for hours in (9, -9, 20, -20) for each in (here, there)))
            assert (await here.read(ID)).state == {"count": 8}

    asyncio.run(main())
