"""Every wait for a turn ends within one time limit."""

import asyncio
import contextvars
import pickle
import time

import pytest
from kit.watched import ID, LONG, Watched, count, steps, with_store

from botsession import ConfigError, Sessions, TurnTimeoutError
from botsession_memory import MemorySessionStore

SOON = 0.05
OTHER = "telegram:43"


def elsewhere(coroutine):
    """Run a coroutine in a task that is not inside the surrounding turns."""
    return asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())


async def enter(sessions, session_id=ID, **options):
    async with sessions.turn(session_id, **options):
        return "entered"


@pytest.mark.parametrize("lock", ["auto", "local"])
@pytest.mark.parametrize("wait", [{}, {"wait": SOON}, {"wait": 0}], ids=["lease_wait", "wait", "none"])
def test_a_turn_waits_no_longer_for_one_of_this_process(lock, wait):
    async def scenario(store):
        sessions = Sessions(store, lock=lock, lease_wait=LONG if wait else SOON)
        async with sessions.turn(ID):
            asyncio.current_task().set_name("slow")
            began = time.monotonic()
            with pytest.raises(TurnTimeoutError, match=rf"'{ID}' is in another turn \(the task 'slow' of this process"):
                await elsewhere(enter(sessions, **wait))
            assert time.monotonic() - began >= (0 if wait == {"wait": 0} else SOON)
        await count(sessions)
        assert sessions._queue._waiting == sessions._queue._waiting_tasks == {}

    with_store(scenario)


@pytest.mark.parametrize("wait", [SOON, 0])
def test_a_turn_waits_no_longer_for_one_elsewhere(wait):
    async def scenario(store):
        await store.hold()
        sessions = Sessions(store, lease_wait=LONG)
        with pytest.raises(TurnTimeoutError, match=f"'{ID}' is in a turn of another process"):
            await enter(sessions, wait=wait)
        if not wait:
            assert store.calls.count("lease_many") == 1
        await store.give_up()
        await count(sessions, ID)

    with_store(scenario)


def test_the_queue_and_the_lease_are_waited_for_together(monkeypatch):
    async def scenario(store):
        sessions = Sessions(store, lease_wait=LONG)
        deadlines = []
        take = sessions._storage.leases.take

        async def watched(session_id, deadline):
            deadlines.append(deadline)
            return await take(session_id, deadline)

        monkeypatch.setattr(sessions._storage.leases, "take", watched)
        async with sessions.turn(ID):
            began = time.monotonic()
            waiting = elsewhere(enter(sessions, wait=LONG))
            await steps()
            queued = time.monotonic()
            await asyncio.sleep(0.005)
        assert await waiting == "entered"
        assert began + LONG <= deadlines[1] <= queued + LONG

    with_store(scenario)


@pytest.mark.parametrize("wait", [-1, -0.001, float("nan"), float("inf"), "1", True, [1], 10**400])
def test_a_wait_that_is_none_is_refused(wait):
    async def scenario(store):
        sessions = Sessions(store)
        with pytest.raises(ConfigError, match="wait must be a number of seconds, zero or more"):
            sessions.turn(ID, wait=wait)
        with pytest.raises(ConfigError, match="wait must be a number of seconds, zero or more"):
            await sessions.update(ID, lambda session: None, wait=wait)

    with_store(scenario)


def test_who_gives_up_leaves_the_queue_and_the_others_keep_their_order():
    async def scenario(store):
        sessions = Sessions(store, lock="local")
        order = []

        async def turn(number, wait):
            async with sessions.turn(ID, wait=wait):
                order.append(number)

        async with sessions.turn(ID):
            waiting = [elsewhere(turn(number, SOON if number % 2 else LONG)) for number in range(6)]
            await asyncio.wait(waiting[1::2])
            assert len(sessions._queue._waiting[ID]) == 3
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), TurnTimeoutError] * 3
        assert order == [0, 2, 4]
        assert sessions._queue._waiting == {}

    with_store(scenario)


@pytest.mark.parametrize("length", [2, 3, 5])
@pytest.mark.parametrize("lock", ["auto", "local"])
def test_of_turns_that_wait_for_each_other_one_is_refused_at_once_and_the_others_go_on(length, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock, lease_wait=LONG)
        ids = [f"telegram:{number}" for number in range(length)]
        everyone = asyncio.Barrier(length)

        async def transfer(number):
            async with sessions.turn(ids[number]):
                await everyone.wait()
                async with sessions.turn(ids[(number + 1) % length]):
                    return "went"

        outcomes = await asyncio.gather(*map(transfer, range(length)), return_exceptions=True)
        assert outcomes.count("went") == length - 1
        [error] = [outcome for outcome in outcomes if outcome != "went"]
        assert isinstance(error, TurnTimeoutError)
        assert error.session_id in ids
        assert "both would wait forever" in str(error)
        assert len(sessions._queue) == 0

    with_store(scenario)


def test_turns_that_wait_for_each_other_in_further_tasks_end_in_time():
    async def scenario(store):
        sessions = Sessions(store, lease_wait=SOON)
        both = asyncio.Barrier(2)

        async def transfer(first, second):
            async with sessions.turn(first):
                await both.wait()
                await asyncio.create_task(enter(sessions, second))

        outcomes = await asyncio.gather(transfer(ID, OTHER), transfer(OTHER, ID), return_exceptions=True)
        assert TurnTimeoutError in map(type, outcomes)
        assert len(sessions._queue) == 0

    with_store(scenario)


def test_turns_that_wait_for_each_other_across_processes_end_in_time():
    async def scenario(store):
        both = asyncio.Barrier(2)

        async def transfer(first, second):
            sessions = Sessions(store, lease_wait=SOON)
            async with sessions.turn(first):
                await both.wait()
                async with sessions.turn(second):
                    pass

        outcomes = await asyncio.gather(transfer(ID, OTHER), transfer(OTHER, ID), return_exceptions=True)
        assert TurnTimeoutError in map(type, outcomes)

    with_store(scenario)


def test_a_task_that_waits_for_nobody_is_in_no_cycle():
    async def scenario(store):
        sessions = Sessions(store)
        async with sessions.turn(ID):
            waiting = elsewhere(enter(sessions))
            await steps()
            async with sessions.turn(OTHER):
                pass
        assert await waiting == "entered"

    with_store(scenario)


def test_a_turn_that_was_let_in_a_moment_ago_waits_for_nobody():
    async def scenario(store):
        sessions = Sessions(store, lock="local")

        async def first():
            async with sessions.turn(ID):
                await steps()
            async with sessions.turn(ID):  # the other turn is admitted, but its task has not resumed yet
                return "entered"

        assert await asyncio.gather(first(), enter(sessions)) == ["entered", "entered"]
        assert sessions._queue._waiting_tasks == {}

    with_store(scenario)


@pytest.mark.parametrize("wait", [SOON, 0])
def test_an_update_waits_no_longer_in_all_its_attempts(wait):
    async def scenario(store):
        sessions = Sessions(store, lease_wait=LONG)
        async with sessions.turn(ID):
            with pytest.raises(TurnTimeoutError):
                await elsewhere(sessions.update(ID, lambda session: None, wait=wait))

    with_store(scenario)


def test_close_waits_no_longer_and_closes_the_store():
    async def scenario():
        sessions = await Sessions("memory", lease_wait=SOON).init()
        stuck = asyncio.Event()

        async def turn():
            async with sessions.turn(ID):
                await stuck.wait()

        task = asyncio.create_task(turn())
        await asyncio.sleep(0)
        with pytest.raises(TurnTimeoutError, match=f"still running when their store was closed: 1.*'{ID}'"):
            await sessions.close()
        assert not sessions.store._open
        stuck.set()
        await task

    asyncio.run(scenario())


def test_a_destruction_waits_no_longer_for_a_turn_that_is_saving():
    async def scenario(store):
        sessions = Sessions(store, lease_wait=SOON)
        reached, go = store.hold_up("commit", "before")
        saving = asyncio.create_task(count(sessions))
        await reached.wait()
        with pytest.raises(TurnTimeoutError, match=f"'{ID}' was not destroyed: a turn is still saving it"):
            await sessions.destroy(ID)
        go.set()
        await saving
        await sessions.destroy(ID)
        assert await sessions.read(ID) is None

    with_store(scenario)


def test_a_destruction_that_the_store_does_not_answer_stops_nobody_for_longer():
    async def scenario(store):
        sessions = Sessions(store, lease_wait=SOON)
        await count(sessions)
        inside, leave = asyncio.Event(), asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                session.state["count"] = 2
                inside.set()
                await leave.wait()

        running = asyncio.create_task(turn())
        await inside.wait()
        reached, go = store.hold_up("destroy", "before")
        destroying = asyncio.create_task(sessions.destroy(ID))
        await reached.wait()
        leave.set()
        await running
        assert (await sessions.read(ID)).state == {"count": 2}
        with pytest.raises(TurnTimeoutError, match=f"'{ID}' is being destroyed"):
            await enter(sessions, wait=0)
        with pytest.raises(TurnTimeoutError, match=f"'{ID}' was not destroyed: another call is destroying it"):
            await sessions.destroy(ID)
        go.set()
        await destroying
        await count(sessions)
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


class NeverReleases(Watched):
    async def release_leases(self, holders):
        await asyncio.Event().wait()


async def fail(sessions):
    async with sessions.turn(ID):
        raise ZeroDivisionError


def test_a_store_that_does_not_answer_to_a_release_stops_nobody_for_longer():
    async def scenario(store):
        sessions = Sessions(store, lease_wait=SOON)
        began = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            await fail(sessions)
        with pytest.raises(TurnTimeoutError):
            await enter(sessions, wait=SOON)
        await sessions.close()
        assert time.monotonic() - began < LONG / 10

    with_store(scenario, NeverReleases)


def test_the_error_travels():
    async def opened():
        store = await MemorySessionStore().init()
        sessions = Sessions(store)
        async with sessions.turn(ID):
            with pytest.raises(TurnTimeoutError) as caught:
                await elsewhere(enter(sessions, wait=0))
        return caught.value

    error = asyncio.run(opened())
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.session_id) == (TurnTimeoutError, str(error), ID)
