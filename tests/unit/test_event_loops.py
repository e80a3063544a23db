"""Turns and event loops: turns of a closed loop do not resume, and two running loops do not share a queue."""

import asyncio
import threading

import pytest

from botsession import Sessions, StoreError
from botsession_memory import MemorySessionStore


@pytest.mark.parametrize("lock", ["auto", "local"])
def test_a_turn_whose_event_loop_has_ended_is_in_nobodys_way(lock):
    async def begin(sessions):
        async with sessions.turn("telegram:42") as session:
            session.state["lost"] = True
            await asyncio.sleep(60)

    async def go_on(sessions):
        async with sessions.turn("telegram:42") as session:
            session.state["count"] = 1
        await sessions.destroy("telegram:1")
        await sessions.close()
        return await sessions.store.read("telegram:42")

    sessions = Sessions(MemorySessionStore(), lock=lock, lease_ttl=0.2)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(sessions.store.init())
    unfinished = loop.create_task(begin(sessions))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert asyncio.run(asyncio.wait_for(go_on(sessions), 10)).state == {"count": 1}
    assert not unfinished.done()
    unfinished._log_destroy_pending = False


def test_turns_in_two_running_event_loops_are_refused():
    sessions = Sessions(MemorySessionStore(), lock="local")
    begun, end = threading.Event(), threading.Event()

    async def elsewhere():
        await sessions.store.init()
        async with sessions.turn("telegram:42"):
            begun.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=asyncio.run, args=[elsewhere()])
    thread.start()
    try:
        assert begun.wait(10)

        async def here():
            with pytest.raises(StoreError, match="Give each thread and event loop one of its own"):
                async with sessions.turn("telegram:1"):
                    pytest.fail("the handler ran")

        asyncio.run(here())
    finally:
        end.set()
        thread.join()
