"""A turn cancelled at any await is stored entirely or not at all, and holds no lease or connection afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref

import backends
import pytest

from botsession import Sessions
from botsession.protocol import capabilities
from botsession.testing import ManualClock

SECONDS = 20
"""Far longer than any step here takes, and far shorter than the wait for a lease that was not released."""

LEASE = {"lease_ttl": 20 * SECONDS, "lease_wait": 20 * SECONDS}

MOST_AWAITS = 200
WHILE_WAITING, WHEN_ANSWERED = "while waiting", "when answered"


class Interrupted:
    """Await a coroutine and cancel the task at one of its awaits: while it waits, or once the result has arrived."""

    def __init__(self, coroutine, at, moment):
        self.coroutine = coroutine
        self.at = at
        self.moment = moment
        self.awaits = 0

    def __await__(self):
        task = asyncio.current_task()
        step, value = self.coroutine.send, None
        while True:
            try:
                future = step(value)
            except StopIteration as ended:
                return ended.value
            if self.awaits == self.at:
                if self.moment == WHILE_WAITING or future is None:
                    task.cancel()
                else:
                    future.add_done_callback(lambda _: task.cancel())
            self.awaits += 1
            try:
                step, value = self.coroutine.send, (yield future)
            except BaseException as error:
                step, value = self.coroutine.throw, error

    @property
    def was_reached(self):
        return self.awaits > self.at


async def interrupted(coroutine, at, moment):
    """Run a coroutine up to its await number `at`, and return whether it was reached."""
    harness = Interrupted(coroutine, at, moment)

    async def run():
        await harness

    task = asyncio.create_task(run())
    async with asyncio.timeout(SECONDS):
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return harness.was_reached


def add(token):
    async def handler(session):
        session.state["tokens"] = [*session.state.get("tokens", []), token]
        await asyncio.sleep(0)
        session.state["count"] = session.state.get("count", 0) + 1

    return handler


async def turn(sessions, session_id, token):
    async with sessions.turn(session_id) as session:
        await add(token)(session)


async def update(sessions, session_id, token):
    await sessions.update(session_id, add(token))


async def among_others(sessions, session_id, token):
    """Take a turn while other tasks use the store; they must not be affected."""
    others = [asyncio.create_task(turn(sessions, f"{session_id}:{number}", token)) for number in range(6)]
    try:
        await asyncio.sleep(0)
        await turn(sessions, session_id, token)
    finally:
        for outcome in await asyncio.gather(*others, return_exceptions=True):
            assert outcome is None


async def in_line(sessions, session_id, token):
    """Take a turn that waits for another turn of the same session."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def first():
        async with sessions.turn(session_id):
            inside.set()
            await go_on.wait()

    holder = asyncio.create_task(first())
    try:
        await inside.wait()
        asyncio.get_running_loop().call_later(0.002, go_on.set)
        await turn(sessions, session_id, token)
    finally:
        go_on.set()
        await holder


async def renewal(sessions, session_id, token):
    """Take a turn that changes nothing, so that only the deadline moves."""
    async with sessions.turn(session_id):
        await asyncio.sleep(0)


@pytest.fixture(params=backends.NAMES)
def backend(request, tmp_path):
    options = backends.options(request.param, tmp_path)
    if request.param == "redis":
        options["max_connections"] = 3  # so that a connection that is not returned is missed
    return {"driver": request.param, "stores": {request.param: options}, "expires_in": 60}


@contextlib.asynccontextmanager
async def opened(backend, clock):
    """Yield two `Sessions` that share a backend as two processes do, or the same one twice if it cannot be shared."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(Sessions(backend, clock=clock, **LEASE))
        lasts = backend["driver"] in backends.LASTING
        yield one, await stack.enter_async_context(Sessions(backend, clock=clock, **LEASE)) if lasts else one


def bounded(coroutine):
    """Run a whole test, including its cleanup, with a time limit."""
    return asyncio.run(asyncio.wait_for(coroutine, 5 * SECONDS))


async def state_of(sessions, session_id):
    session = await sessions.read(session_id)
    return None if session is None else session.state


def tokens(*names):
    return {"tokens": [*names], "count": len(names)}


@pytest.mark.parametrize("moment", [WHILE_WAITING, WHEN_ANSWERED])
@pytest.mark.parametrize("action", [turn, update, among_others, in_line, renewal])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_a_turn_cancelled_at_any_await(backend, action, moment, known):
    if action is renewal and not known:
        pytest.skip("a new, unchanged session is not stored")

    async def main():
        clock = ManualClock()
        async with opened(backend, clock) as (here, there):
            for at in range(MOST_AWAITS):
                session_id = f"cancelled:{at}"
                before = ["before"] if known else []
                if known:
                    await turn(here, session_id, "before")
                if action is renewal:
                    clock.advance(minutes=40)
                reached = await interrupted(action(here, session_id, "cut"), at, moment)
                async with asyncio.timeout(SECONDS):
                    assert await state_of(here, session_id) in (
                        tokens(*before) if known else None,
                        tokens(*before, "cut"),
                    )
                    # A write in flight when the turn was cancelled may still arrive. It then causes a conflict, and
                    # update retries.
                    await update(here, session_id, "here")
                    await update(there, session_id, "there")
                assert await state_of(here, session_id) in (
                    tokens(*before, "here", "there"),
                    tokens(*before, "cut", "here", "there"),
                )
                if not reached:
                    break
            else:
                raise AssertionError("the turn does not end")
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(turn(here, f"after:{number}", "one") for number in range(20)))
            return at

    assert bounded(main()) > 0


@pytest.mark.parametrize("backend", backends.LASTING, indirect=True)
@pytest.mark.parametrize("moment", [WHILE_WAITING, WHEN_ANSWERED])
def test_a_turn_that_waits_for_another_process_cancelled_at_any_await(backend, moment):
    """A waiter that gave up does not block others."""

    async def main():
        async with opened(backend, None) as (here, there):
            if "lease" not in capabilities(here.store):
                pytest.skip("without leases, no turn waits for another process")
            for at in range(MOST_AWAITS):
                session_id = f"cancelled:{at}"
                async with asyncio.timeout(SECONDS):
                    async with there.turn(session_id) as session:
                        await add("first")(session)
                        waiting = asyncio.create_task(interrupted(turn(here, session_id, "cut"), at, moment))
                        await asyncio.wait([waiting], timeout=0.02)
                    reached = await waiting
                    await update(there, session_id, "there")
                    await update(here, session_id, "here")
                assert await state_of(here, session_id) in (
                    tokens("first", "there", "here"),
                    tokens("first", "cut", "there", "here"),
                )
                if not reached:
                    break
            else:
                raise AssertionError("the turn does not end")

    bounded(main())


@pytest.mark.parametrize("moment", [WHILE_WAITING, WHEN_ANSWERED])
def test_destroying_cancelled_at_any_await(backend, moment):
    async def main():
        async with opened(backend, None) as (here, there):
            for at in range(MOST_AWAITS):
                session_id = f"cancelled:{at}"
                await turn(here, session_id, "before")
                reached = await interrupted(here.destroy(session_id), at, moment)
                async with asyncio.timeout(SECONDS):
                    assert await state_of(here, session_id) in (tokens("before"), None)
                    await update(there, session_id, "next")
                assert await state_of(here, session_id) in (tokens("before", "next"), tokens("next"), None)
                if not reached:
                    break
            else:
                raise AssertionError("destroy does not end")

    bounded(main())


@pytest.mark.parametrize("moment", [WHILE_WAITING, WHEN_ANSWERED])
def test_opening_cancelled_at_any_await(backend, moment):
    """A partly opened store is closed, and can be opened again."""

    async def main():
        for at in range(MOST_AWAITS):
            sessions = Sessions(backend, **LEASE)
            reached = await interrupted(sessions.init(), at, moment)
            async with asyncio.timeout(SECONDS):
                async with sessions:
                    await turn(sessions, f"opened:{at}", "next")
                    assert await state_of(sessions, f"opened:{at}") == tokens("next")
            if not reached:
                break
        else:
            raise AssertionError("init does not end")

    bounded(main())
    gc.collect()


@pytest.mark.parametrize("same", [True, False], ids=["the same sessions", "new ones"])
def test_an_event_loop_that_ends_in_the_middle_of_turns(backend, same):
    """Turns that `asyncio.run` cancels on exit leave nothing held for the next loop."""
    if backend["driver"] == "memory" and not same:
        pytest.skip("this driver keeps no data after its sessions are closed")
    ids = [f"ended:{number}" for number in range(12)]
    running = []

    async def first(sessions):
        await sessions.init()
        running.extend(asyncio.create_task(turn(sessions, each, "cut")) for each in ids for _ in range(3))
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        inside = asyncio.Event()

        async def forever():
            async with sessions.turn("ended:forever") as session:
                session.state["lost"] = True
                inside.set()
                await asyncio.Event().wait()

        running.append(asyncio.create_task(forever()))
        async with asyncio.timeout(SECONDS):
            await inside.wait()
        running.extend(asyncio.create_task(turn(sessions, each, "cut")) for each in ids)
        await asyncio.sleep(0)

    async def second(sessions):
        async with asyncio.timeout(SECONDS), sessions:
            assert await sessions.read("ended:forever") is None
            for each in [*ids, "ended:forever"]:
                await sessions.update(each, add("next"))
                found = (await state_of(sessions, each))["tokens"]
                assert found == ["cut"] * (len(found) - 1) + ["next"]
                assert (await state_of(sessions, each)) == tokens(*found)

    sessions = Sessions(backend, **LEASE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # for connections that outlive their loop
        asyncio.run(first(sessions))
        running.clear()
        abandoned = [weakref.ref(sessions), *clients_of(sessions)]
        if not same:
            sessions = Sessions(backend, **LEASE)
        asyncio.run(second(sessions))
        del sessions
        wait_until_freed(abandoned)


def clients_of(sessions):
    """Return weak references to the clients for which PyMongo warns if they are freed without being closed."""
    connection = getattr(sessions.store, "_connection", None)
    client = getattr(connection, "_client", None)
    return [] if client is None else [weakref.ref(vars(client).get("delegate", client))]


def wait_until_freed(abandoned):
    """Wait for unreferenced objects to be freed; a client's threads may briefly outlive the event loop."""
    until = time.monotonic() + SECONDS
    while any(each() is not None for each in abandoned):
        assert time.monotonic() < until, [gc.get_referrers(each()) for each in abandoned]
        time.sleep(0.01)
        gc.collect()


TALKING = """
import asyncio, json, sys
from botsession import Sessions

async def bot(sessions, number):
    for count in range(10**6):
        token = f"{number}-{count}"
        async with sessions.turn(f"ctrl-c:{number % 4}") as session:
            session.state.setdefault("tokens", []).append(token)
            session.state["count"] = session.state.get("count", 0) + 1
            await asyncio.sleep(0)
        print(f"{number % 4} {token}", flush=True)

async def main():
    async with Sessions(json.loads(sys.argv[1]), lease_ttl=float(sys.argv[2])) as sessions:
        await asyncio.gather(*(bot(sessions, number) for number in range(8)))

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def talk_until_ctrl_c(backend, lease_ttl):
    """Run bots in a process and interrupt it; return the acknowledged tokens of each session."""
    command = [sys.executable, "-W", "error", "-c", TALKING, json.dumps(backend), str(lease_ttl)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        too_late = threading.Timer(5 * SECONDS, process.kill)
        too_late.start()
        lines = [process.stdout.readline() for _ in range(40)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        # Not always empty: Python may interrupt between any two instructions, including asyncio's own, and asyncio then
        # complains.
        errors = process.stderr.read()
        too_late.cancel()
    assert lines.pop() == "interrupted\n", errors
    acknowledged = {number: [] for number in range(4)}
    for line in lines:
        number, token = line.split()
        acknowledged[int(number)].append(token)
    return acknowledged


@pytest.mark.parametrize("backend", backends.LASTING, indirect=True)
def test_ctrl_c_loses_nothing_that_was_acknowledged(backend):
    acknowledged = talk_until_ctrl_c(backend, lease_ttl=1)

    async def check():
        async with Sessions(backend, **LEASE) as sessions:
            for number, expected in acknowledged.items():
                await sessions.update(f"ctrl-c:{number}", add("next"))
                state = await state_of(sessions, f"ctrl-c:{number}")
                found = state["tokens"]
                assert len(set(found)) == len(found) == state["count"]
                assert [token for token in found if token in expected] == expected
                assert len(found) <= len(expected) + 1 + 2  # at most the last turn of each of its two tasks

    bounded(check())


@pytest.mark.parametrize("backend", backends.LASTING, indirect=True)
def test_ctrl_c_leaves_no_lease(backend):
    talk_until_ctrl_c(backend, LEASE["lease_ttl"])

    async def check():
        async with Sessions(backend, **LEASE) as sessions, asyncio.timeout(SECONDS):
            await asyncio.gather(*(update(sessions, f"ctrl-c:{number}", "next") for number in range(4)))

    bounded(check())
