"""A turn whose block has ended is saved even if its task is cancelled; the `CancelledError` notes that it was saved."""

import asyncio

import pytest
from kit.watched import ID, count, steps, with_store

from botsession import SessionConflictError, Sessions, StoreUnavailableError
from botsession_memory import MemorySessionStore


class Gated:
    """A store that waits before or after it saves, and can be made to fail there."""

    methods = ("init", "read", "write", "destroy", "replace", "touch", "lease_many", "renew_leases", "release_leases",
               "read_many", "commit", "commit")  # fmt: skip
    saves = ("write", "replace", "commit")

    def __init__(self, when):
        self.inner = MemorySessionStore()
        self.when = when
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.failing = None
        for name in self.methods:
            method = getattr(self.inner, name)
            setattr(self, name, self.gated(method) if name in self.saves else method)

    def gated(self, save):
        async def gate(moment):
            if moment == self.when:
                self.reached.set()
                await self.go.wait()
                if self.failing is not None:
                    raise self.failing

        async def gated(*arguments, **options):
            await gate("before")
            outcome = await save(*arguments, **options)
            await gate("after")
            return outcome

        return gated


class WithoutBulk(Gated):
    methods = ("init", "read", "write", "destroy", "replace")


class FourMethods(Gated):
    methods = ("init", "read", "write", "destroy")


KINDS = [(Gated, "auto"), (Gated, "local"), (Gated, "none"), (WithoutBulk, "local"), (FourMethods, "local")]
EACH = pytest.mark.parametrize(("kind", "lock"), KINDS, ids=[f"{kind.__name__}-{lock}" for kind, lock in KINDS])
WHEN = pytest.mark.parametrize("when", ["before", "after"])


def run(scenario, kind, when):
    async def opened():
        store = kind(when)
        await store.init()
        async with asyncio.timeout(60):
            await scenario(store)

    asyncio.run(opened())


async def saving(store, turn):
    """Start a turn, and return its task once it is being saved."""
    store.reached.clear()
    store.go.clear()
    task = asyncio.create_task(turn)
    await store.reached.wait()
    return task


def check_saved(error):
    assert type(error) is asyncio.CancelledError
    assert any(f"'{ID}' is saved" in note for note in error.__notes__)


async def error_of(task):
    try:
        await task
    except BaseException as error:
        return error


@EACH
@WHEN
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_turn_that_is_cancelled_while_it_is_saved_is_saved(kind, lock, when, times):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        for number in (1, 2):  # the first turn creates the session, the second replaces it
            task = await saving(store, count(sessions))
            for _ in range(times):
                task.cancel()
                await steps()
                assert not task.done()
            store.go.set()
            check_saved(await error_of(task))
            assert task.cancelled()
            assert (await sessions.read(ID)).state == {"count": number}
        assert store.inner._leases == {}
        await count(sessions)

    run(scenario, kind, when)


@EACH
@WHEN
def test_a_turn_that_is_cancelled_and_cannot_be_saved_tells_why(kind, lock, when):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        task = await saving(store, count(sessions))
        task.cancel()
        await steps()
        store.failing = StoreUnavailableError("away")
        store.go.set()
        assert await error_of(task) is store.failing

    run(scenario, kind, when)


@EACH
def test_a_turn_that_is_cancelled_and_was_overtaken_tells_it(kind, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        await count(sessions)

        async def turn():
            async with sessions.turn(ID) as session:
                await Sessions(store.inner, lock="local").update(ID, lambda other: other.set_state({"count": 7}))
                session.state["count"] = 2

        store.go.clear()
        task = asyncio.create_task(turn())
        await steps()
        task.cancel()
        task.cancel()
        store.go.set()
        assert isinstance(await error_of(task), SessionConflictError)
        assert (await sessions.read(ID)).state == {"count": 7}

    run(scenario, kind, "before")


@EACH
def test_a_time_limit_around_the_turn(kind, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)

        async def limited():
            async with asyncio.timeout(None) as limit:
                async with sessions.turn(ID) as session:
                    session.state["count"] = 1
                    limit.reschedule(asyncio.get_running_loop().time())

        task = await saving(store, limited())
        await steps()
        assert not task.done()
        store.go.set()
        error = await error_of(task)
        assert type(error) is TimeoutError
        check_saved(error.__cause__)
        assert (await sessions.read(ID)).state == {"count": 1}

    run(scenario, kind, "before")


@EACH
def test_a_task_group_whose_other_task_fails(kind, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)

        async def fail():
            await store.reached.wait()
            asyncio.get_running_loop().call_soon(store.go.set)
            raise ZeroDivisionError

        store.go.clear()
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(count(sessions))
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert (await sessions.read(ID)).state == {"count": 1}

    run(scenario, kind, "before")


@pytest.mark.parametrize("lock", ["auto", "local"])
@pytest.mark.parametrize("cancelled", [range(1, 6), [3]], ids=["all", "one"])
def test_turns_that_are_cancelled_before_their_batch_is_sent(lock, cancelled):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        first = await saving(store, count(sessions, "telegram:0"))
        others = [asyncio.create_task(count(sessions, f"telegram:{number}")) for number in range(1, 6)]
        await steps()
        for number in cancelled:
            others[number - 1].cancel()
        await steps()
        for number in cancelled:
            others[number - 1].cancel()
        assert not any(task.done() for task in others)
        store.go.set()
        await first
        for number, task in enumerate(others, 1):
            error = await error_of(task)
            assert type(error) is (asyncio.CancelledError if number in cancelled else type(None))
            assert (await sessions.read(f"telegram:{number}")).state == {"count": 1}
        await count(sessions)

    run(scenario, Gated, "before")


@EACH
def test_a_turn_that_cancels_its_own_task_at_the_end_of_its_block(kind, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)

        async def turn():
            async with sessions.turn(ID) as session:
                session.state["count"] = 1
                asyncio.current_task().cancel()

        check_saved(await error_of(asyncio.create_task(turn())))
        assert (await sessions.read(ID)).state == {"count": 1}

    run(scenario, kind, "before")


@EACH
def test_the_end_of_asyncio_run_cuts_off_no_turn_that_is_being_saved(kind, lock):
    made = []

    async def main():
        store = kind("before")
        await store.init()
        sessions = Sessions(store, lock=lock)
        made.append((store, sessions, await saving(store, count(sessions))))
        asyncio.get_running_loop().call_later(0.01, store.go.set)

    asyncio.run(main())
    [(store, _, task)] = made
    assert task.cancelled()
    assert asyncio.run(store.inner.read(ID)).state == {"count": 1}


@EACH
def test_a_turn_that_is_cancelled_within_its_block_saves_nothing(kind, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        ready = asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                session.state["count"] = 1
                ready.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(turn())
        await ready.wait()
        task.cancel()
        error = await error_of(task)
        assert type(error) is asyncio.CancelledError
        assert not hasattr(error, "__notes__")
        assert await sessions.read(ID) is None

    run(scenario, kind, "before")


def test_a_turn_that_is_cancelled_while_its_session_is_destroyed_has_its_say():
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        inside, leave = asyncio.Event(), asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                session.state["count"] = 2
                inside.set()
                await leave.wait()

        task = asyncio.create_task(turn())
        await inside.wait()
        reached, go = store.hold_up("destroy", "before")
        destroying = asyncio.create_task(sessions.destroy(ID))
        await reached.wait()
        leave.set()
        await steps()
        task.cancel()
        await steps()
        assert not task.done()
        store.failing["destroy"] = StoreUnavailableError("away")
        destroying.cancel()  # the session was not destroyed
        go.set()
        await asyncio.wait([destroying])
        check_saved(await error_of(task))
        assert (await sessions.read(ID)).state == {"count": 2}

    with_store(scenario)


def test_an_update_that_is_cancelled_while_it_is_saved_is_saved_once():
    async def scenario(store):
        sessions = Sessions(store)
        task = await saving(store, sessions.update(ID, lambda session: session.set_state({"count": 1})))
        task.cancel()
        await steps()
        store.go.set()
        check_saved(await error_of(task))
        assert (await sessions.read(ID)).state == {"count": 1}

    run(scenario, Gated, "before")
