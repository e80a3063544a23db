"""The time limit of Redis operations: one timer for all of them, with the behaviour of `asyncio.timeout`."""

import asyncio

import pytest

from botsession_redis.connection import TimeLimit

LONG = 60.0


def timers(loop):
    return [handle for handle in loop._scheduled if not handle.cancelled()]


async def take(limit, seconds):
    with limit:
        await asyncio.sleep(seconds)


def test_who_takes_too_long_is_told_and_nobody_else():
    async def scenario():
        limit = TimeLimit(0.05, asyncio.get_running_loop())
        first = asyncio.create_task(take(limit, LONG))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(take(limit, LONG))
        quick = [asyncio.create_task(take(limit, 0)) for _ in range(10)]
        await asyncio.gather(*quick)
        with pytest.raises(TimeoutError) as caught:
            await first
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert not second.done()
        with pytest.raises(TimeoutError):
            await second
        await take(limit, 0)

    asyncio.run(scenario())


def test_one_timer_serves_them_all():
    async def scenario():
        loop = asyncio.get_running_loop()
        limit = TimeLimit(LONG, loop)
        waiting = [asyncio.create_task(take(limit, LONG)) for _ in range(100)]
        await asyncio.sleep(0)
        of_the_tasks = len(waiting)
        assert len(timers(loop)) == of_the_tasks + 1
        for task in waiting:
            task.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        for _ in range(100):
            await take(limit, 0)
        assert len(timers(loop)) == 1

    asyncio.run(scenario())


def test_the_timer_rests_while_nothing_runs():
    async def scenario():
        loop = asyncio.get_running_loop()
        limit = TimeLimit(0.01, loop)
        await take(limit, 0)
        await asyncio.sleep(0.03)
        assert timers(loop) == []
        with pytest.raises(TimeoutError):
            await take(limit, LONG)
        assert timers(loop) == []

    asyncio.run(scenario())


def test_a_cancellation_from_outside_stays_one():
    async def scenario():
        limit = TimeLimit(0.02, asyncio.get_running_loop())
        task = asyncio.create_task(take(limit, LONG))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_limits_within_limits():
    async def scenario():
        loop = asyncio.get_running_loop()
        outer, inner = TimeLimit(0.02, loop), TimeLimit(LONG, loop)
        with pytest.raises(TimeoutError), outer:
            await take(inner, LONG)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await take(inner, LONG)
        with pytest.raises(ValueError, match="its own"), outer:
            raise ValueError("its own")

    asyncio.run(scenario())
