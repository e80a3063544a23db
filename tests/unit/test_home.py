"""`LoopBinding`: a resource is used only in the thread and event loop that opened it, until that loop ends."""

import asyncio
import contextlib
import threading
from functools import partial

import pytest

from botsession import Sessions, StoreError
from botsession.storage.binding import LoopBinding
from botsession_memory import MemorySessionStore


async def _enter(home):
    return home.enter()


async def _check(home):
    home.check()


@contextlib.contextmanager
def _thread_with_a_loop(home):
    """Bind `home` to the event loop of a second thread. The loop is open but does not run during the block."""
    entered, end = threading.Event(), threading.Event()

    def work():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_enter(home))
        entered.set()
        end.wait(10)
        loop.close()

    thread = threading.Thread(target=work, name="the-other")
    thread.start()
    assert entered.wait(10)
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_it_is_entered_once():
    home = LoopBinding("the store")

    async def twice():
        assert home.enter()
        assert not home.enter()
        home.check()

    asyncio.run(twice())


def test_a_closed_event_loop_is_followed_by_another_one():
    home = LoopBinding("the store")
    asyncio.run(_enter(home))
    with pytest.raises(StoreError, match=r"the store was opened in another event loop, which has ended\. Call"):
        asyncio.run(_check(home))
    assert asyncio.run(_enter(home))


def test_a_stopped_event_loop_is_followed_by_another_one_in_the_same_thread():
    home = LoopBinding("the store")
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(_enter(home))
    assert asyncio.run(_enter(home))
    assert loop.run_until_complete(_enter(home))
    loop.close()


def test_a_stopped_event_loop_of_another_thread_is_still_open():
    home = LoopBinding("the store")
    with _thread_with_a_loop(home):
        for use in (_enter, _check):
            with pytest.raises(StoreError, match="another event loop, which is open in the thread 'the-other'"):
                asyncio.run(use(home))
    assert asyncio.run(_enter(home))


def test_what_was_left_is_entered_from_anywhere():
    home = LoopBinding("the store")
    with _thread_with_a_loop(home):
        home.leave()
        with pytest.raises(StoreError, match=r"the store is not open\. Call `await init\(\)` first"):
            asyncio.run(_check(home))
        assert asyncio.run(_enter(home))


def test_of_many_threads_one_enters():
    home, start, end = LoopBinding("the store"), threading.Barrier(8), threading.Barrier(8)
    outcomes = []

    async def enter():
        start.wait(10)
        try:
            outcomes.append(home.enter())
        except StoreError:
            outcomes.append(False)
        end.wait(10)

    threads = [threading.Thread(target=asyncio.run, args=[enter()]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


@pytest.mark.parametrize("use", ["turn", "read", "destroy", "update", "recover", "init", "close"])
def test_sessions_of_another_thread_are_refused_although_no_turn_runs(use):
    sessions = Sessions(MemorySessionStore())
    uses = {
        "turn": sessions.turn("telegram:1").__aenter__,
        "read": partial(sessions.read, "telegram:1"),
        "destroy": partial(sessions.destroy, "telegram:1"),
        "update": partial(sessions.update, "telegram:1", print),
        "recover": partial(sessions.recover, "telegram:1"),
        "init": sessions.init,
        "close": sessions.close,
    }

    async def elsewhere():
        with pytest.raises(StoreError, match="the Sessions object belongs to another event loop"):
            await uses[use]()

    async def here():
        async with sessions:
            await asyncio.to_thread(asyncio.run, elsewhere())
            async with sessions.turn("telegram:1") as session:
                session.state["count"] = 1

    asyncio.run(here())


def test_sessions_that_were_closed_are_opened_in_another_thread():
    sessions = Sessions("memory")

    async def turn():
        async with sessions, sessions.turn("telegram:1") as session:
            session.state["count"] = session.state.get("count", 0) + 1
            return session.state["count"]

    async def twice():
        await turn()
        return await asyncio.to_thread(asyncio.run, turn())

    assert asyncio.run(twice()) == 2


def test_a_memory_store_of_another_thread_is_refused():
    store = MemorySessionStore()

    async def elsewhere():
        for use in (store.init(), store.read("telegram:1"), store.close()):
            with pytest.raises(StoreError, match="the memory store belongs to another event loop"):
                await use

    async def here():
        await store.init()
        await asyncio.to_thread(asyncio.run, elsewhere())
        assert await store.read("telegram:1") is None

    asyncio.run(here())
