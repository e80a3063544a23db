"""Open sessions, fork, and check that the child does not harm the parent. Print all failures as JSON.

python -m faults.parents redis '{"url": "redis://localhost"}'
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from botsession import Sessions, StoreError

CHILD_SECONDS = 10
PARENT_SECONDS = 10

RUN = os.urandom(4).hex()

driver: str
options: dict[str, Any]
sessions: Sessions[dict[str, Any]]
loop: asyncio.AbstractEventLoop


async def turns(name: str, users: int = 5) -> None:
    async def user(key: str) -> None:
        for _ in range(3):
            async with sessions.turn(key) as session:
                session.state["n"] = session.state.get("n", 0) + 1

    await asyncio.gather(*(user(f"{RUN}:{name}:{number}") for number in range(users)))


async def counts(name: str, users: int = 5) -> list[int]:
    return [(await sessions.read(f"{RUN}:{name}:{number}")).state["n"] for number in range(users)]


async def open_anew() -> None:
    await sessions.init()
    await turns(f"child-{os.getpid()}")
    assert await counts(f"child-{os.getpid()}") == [3] * 5
    await sessions.close()


async def refused() -> None:
    try:
        await turns("child")
    except StoreError as error:
        assert "fork" in str(error), error
    else:
        raise AssertionError("it was not refused")


def in_child(work: Callable[[], object], end: Callable[[int], object] = os._exit) -> int:
    """Fork; the child does its work and exits within a time limit."""
    pid = os.fork()
    if not pid:
        signal.alarm(CHILD_SECONDS)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        end(0)
    return pid


def waited(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert not status, "the child hangs" if status == signal.SIGALRM else f"the child failed: {status}"


def once(work: Callable[[], object], end: Callable[[int], object] = sys.exit) -> None:
    waited(in_child(work, end))


def the_child_just_ends() -> None:
    once(int)
    once(int, os._exit)


def the_child_opens_it() -> None:
    once(lambda: asyncio.run(open_anew()))
    once(lambda: asyncio.run(open_anew()), os._exit)


def the_child_closes_it() -> None:
    once(lambda: loop.run_until_complete(sessions.close()))
    once(lambda: asyncio.run(sessions.close()))


def the_child_uses_the_inherited_loop() -> None:
    once(lambda: loop.run_until_complete(refused()))


def the_child_closes_the_inherited_loop() -> None:
    once(loop.close)


def the_child_frees_it() -> None:
    async def free() -> None:
        del globals()["sessions"]
        gc.collect()
        await asyncio.sleep(0)

    once(lambda: asyncio.run(free()))


def the_child_has_a_child() -> None:
    def work() -> None:
        async def main() -> None:
            await sessions.init()
            await turns("child")
            waited(in_child(lambda: asyncio.run(open_anew())))
            await turns("child")
            assert await counts("child") == [6] * 5
            await sessions.destroy(f"{RUN}:child:0")
            await sessions.close()

        asyncio.run(main())

    if driver != "memory":
        once(work)


def the_child_has_no_connection_of_it() -> None:
    def work() -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as inherited:
                assert inherited.family == socket.AF_UNIX, inherited

    gc.collect()  # the connections of a closed event loop
    if driver == "redis":
        gc.collect()  # otherwise what a closed event loop left open remains
        once(work)


def a_client_that_was_handed_in_is_the_parents() -> None:
    async def use(given: Sessions[dict[str, Any]]) -> None:
        await given.init()
        async with given.turn(f"{RUN}:given") as session:
            session.state["n"] = session.state.get("n", 0) + 1

    async def refused_anew(given: Sessions[dict[str, Any]]) -> None:
        try:
            await use(given)
        except StoreError as error:
            assert "client that the parent process uses" in str(error), error
        else:
            raise AssertionError("it was not refused")
        await given.close()

    if driver == "redis":
        from redis.asyncio import Redis

        from botsession_redis import RedisSessionStore

        given = Sessions(RedisSessionStore(client=Redis.from_url(options["url"])))
    elif driver == "mongo":
        from pymongo import AsyncMongoClient

        from botsession_mongo import MongoSessionStore

        given = Sessions(MongoSessionStore(client=AsyncMongoClient(options["url"])))
    else:
        return
    loop.run_until_complete(use(given))
    once(lambda: asyncio.run(refused_anew(given)))
    loop.run_until_complete(use(given))
    assert loop.run_until_complete(given.read(f"{RUN}:given")).state == {"n": 2}


def it_forks_while_turns_run(end: Callable[[int], object] = sys.exit) -> None:
    async def main() -> None:
        busy = asyncio.create_task(turns("busy", 20))
        await asyncio.sleep(0.002)
        pid = in_child(int, end)
        await busy
        waited(pid)
        assert await counts("busy", 20) == [3] * 20
        await asyncio.gather(*(sessions.destroy(f"{RUN}:busy:{number}") for number in range(20)))

    loop.run_until_complete(main())


def it_forks_while_turns_run_and_the_child_ends_at_once() -> None:
    it_forks_while_turns_run(os._exit)


def it_forks_within_a_turn() -> None:
    async def main() -> None:
        async with sessions.turn(f"{RUN}:within:1") as session:
            pid = os.fork()
            session.state["by"] = "parent" if pid else "child"
            if pid:
                await asyncio.to_thread(waited, pid)
        assert (await sessions.read(f"{RUN}:within:1")).state == {"by": "parent"}

    parent = os.getpid()
    try:
        loop.run_until_complete(main())
    except StoreError as error:
        assert os.getpid() != parent, error
        os._exit(0 if "fork" in str(error) else 2)
    assert os.getpid() == parent, "the child's turn saved"


def it_forks_within_a_turn_and_the_child_takes_turns_of_it() -> None:
    async def main() -> None:
        async with sessions.turn(f"{RUN}:within:2") as session:
            session.state["by"] = "parent"
            process = multiprocessing.get_context("fork").Process(target=asyncio.run, args=[open_anew()])
            process.start()
            await asyncio.to_thread(process.join, CHILD_SECONDS)
            assert process.exitcode == 0, f"the child ended with {process.exitcode}"
        assert (await sessions.read(f"{RUN}:within:2")).state == {"by": "parent"}

    loop.run_until_complete(main())


def another_thread_forks() -> None:
    async def main() -> None:
        busy = asyncio.create_task(turns("busy", 20))
        await asyncio.to_thread(once, lambda: asyncio.run(open_anew()), os._exit)
        await busy
        await asyncio.gather(*(sessions.destroy(f"{RUN}:busy:{number}") for number in range(20)))

    loop.run_until_complete(main())


def work_of(coroutine: Coroutine[Any, Any, None]) -> None:
    loop.run_until_complete(asyncio.wait_for(coroutine, PARENT_SECONDS))


def what_went_wrong(fork: Callable[[], None]) -> str:
    """Fork between turns; return the failures in the child and later in the parent."""
    try:
        work_of(sessions.init())
        for number in range(5):
            work_of(sessions.destroy(f"{RUN}:parent:{number}"))
        work_of(turns("parent"))
        fork()
        work_of(turns("parent"))
        assert loop.run_until_complete(counts("parent")) == [6] * 5
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def prefork() -> None:
    await sessions.init()
    await turns("early")


def the_loop_has_ended_before() -> None:
    for pid in [in_child(lambda: asyncio.run(open_anew()), sys.exit) for _ in range(3)]:
        waited(pid)


FORKS = [
    the_child_just_ends,
    the_child_opens_it,
    the_child_closes_it,
    the_child_uses_the_inherited_loop,
    the_child_closes_the_inherited_loop,
    the_child_frees_it,
    the_child_has_a_child,
    the_child_has_no_connection_of_it,
    a_client_that_was_handed_in_is_the_parents,
    it_forks_while_turns_run,
    it_forks_while_turns_run_and_the_child_ends_at_once,
    it_forks_within_a_turn,
    it_forks_within_a_turn_and_the_child_takes_turns_of_it,
    another_thread_forks,
]

NAMES = ["the_loop_has_ended_before", *(fork.__name__ for fork in FORKS)]

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    driver, options = sys.argv[1], json.loads(sys.argv[2])
    sessions = Sessions(driver, **options)
    asyncio.run(prefork())
    loop = asyncio.new_event_loop()
    wrong = {"the_loop_has_ended_before": what_went_wrong(the_loop_has_ended_before)}
    wrong |= {fork.__name__: what_went_wrong(fork) for fork in FORKS}
    sys.stdout.write(json.dumps(wrong))
    sys.stdout.flush()
    os._exit(0)
