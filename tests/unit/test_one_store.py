"""Several `Sessions` objects over one in-process store: their turns exclude each other without leases."""

import asyncio
import contextvars

import pytest

from botsession import NestedTurnError, SessionConflictError, Sessions, TurnTimeoutError
from botsession.protocol import Claim, Step
from botsession_memory import MemorySessionStore

ID = "telegram:42"
LONG = 600.0


def run(scenario):
    async def opened():
        store = await MemorySessionStore().init()
        async with asyncio.timeout(60):
            await scenario(store, Sessions(store), Sessions(store))

    asyncio.run(opened())


def elsewhere(coroutine):
    """Run a coroutine in a task that is not inside the surrounding turns."""
    return asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())


async def count(sessions, **options):
    async with sessions.turn(ID, **options) as session:
        before = session.state.get("count", 0)
        await asyncio.sleep(0)
        session.state["count"] = before + 1


def test_their_turns_run_one_at_a_time_in_order_of_arrival():
    async def scenario(store, here, there):
        order = []

        async def turn(sessions, number):
            async with sessions.turn(ID) as session:
                await asyncio.sleep(0)
                order.append(number)
                session.state["count"] = session.state.get("count", 0) + 1

        await asyncio.gather(*(turn((here, there)[number % 2], number) for number in range(32)))
        assert order == list(range(32))
        assert (await there.read(ID)).state == {"count": 32}
        assert len(store._leases) == 0

    run(scenario)


def test_a_turn_of_one_waits_no_longer_than_it_may_for_a_turn_of_the_other():
    async def scenario(store, here, there):
        async with here.turn(ID):
            with pytest.raises(TurnTimeoutError, match="is in another turn"):
                await elsewhere(count(there, wait=0))
            waiting = elsewhere(count(there))
            await asyncio.sleep(0)
        await waiting

    run(scenario)


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_turn_that_never_waits_starts_after_a_turn_of_the_other_has_ended(is_changed):
    async def scenario(store, here, there):
        for number in range(5):
            async with here.turn(ID) as session:
                if is_changed:
                    session.state["here"] = number
            await count(there, wait=0)
        assert (await here.read(ID)).state["count"] == 5

    run(scenario)


def test_a_turn_of_one_inside_a_turn_of_the_other_is_refused_at_once():
    async def scenario(store, here, there):
        async with here.turn(ID):
            with pytest.raises(NestedTurnError):
                await count(there)

    run(scenario)


def test_a_destruction_by_one_reaches_a_turn_of_the_other():
    async def scenario(store, here, there):
        await count(here)
        async with here.turn(ID) as session:
            session.state["count"] = 100
            await elsewhere(there.destroy(ID))
        assert await there.read(ID) is None
        with pytest.raises(SessionConflictError, match="was destroyed during its turn"):
            async with here.turn(ID) as session:
                await elsewhere(there.destroy(ID))
                session.state["count"] = 100
        assert await there.read(ID) is None

    run(scenario)


def test_closing_one_waits_for_its_own_turns_only_and_leaves_the_other_open():
    async def scenario(store, here, there):
        leave = asyncio.Event()

        async def turn():
            async with there.turn(ID) as session:
                await leave.wait()
                session.state["count"] = 1

        running = elsewhere(turn())
        await asyncio.sleep(0)
        await here.close()
        assert not running.done()
        leave.set()
        await there.close()
        await running
        await count(there)
        assert (await here.read(ID)).state == {"count": 2}

    run(scenario)


def test_a_subclass_whose_calls_suspend_says_so_and_has_leases():
    class Slow(MemorySessionStore):
        in_process = False

        async def lease_many(self, claims):
            await asyncio.sleep(0)
            return await super().lease_many(claims)

    async def scenario():
        store = await Slow().init()
        here, there = Sessions(store), Sessions(store)
        async with here.turn(ID):
            assert len(store._leases) == 1
            with pytest.raises(TurnTimeoutError, match="of another Sessions object"):
                await elsewhere(count(there, wait=0))
        await here.close()

    asyncio.run(scenario())


def test_the_calls_of_the_memory_store_never_suspend():
    async def scenario(store, here, there):
        await count(here)
        session = await store.read(ID)
        calls = [
            store.read(ID),
            store.replace(ID, session, expected=session.version),
            store.write(ID, session),
            store.touch(ID, session.expires_at),
            store.read_many([ID]),
            store.commit([Step.replace(session)]),
            store.lease_many([Claim(ID, "a", LONG, LONG)]),
            store.release_leases({ID: "a"}),
            store.scan(),
            store.destroy(ID),
        ]
        for call in calls:
            with pytest.raises(StopIteration):
                call.send(None)

    run(scenario)
