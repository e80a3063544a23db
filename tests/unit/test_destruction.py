"""A destroyed session stays destroyed, later writes survive, and no change is dropped silently."""

import asyncio
import contextlib
import contextvars

import msgspec
import pytest
from kit.watched import ID, Watched, count, steps, with_store

from botsession import SessionConflictError, Sessions, StoreUnavailableError
from botsession_memory import MemorySessionStore

LOCKS = ["auto", "local", "none"]


class Fewer:
    """A store that has only some of the methods of a memory store."""

    methods = ("read", "write", "destroy")

    def __init__(self):
        self.inner = MemorySessionStore()
        for name in self.methods:
            setattr(self, name, getattr(self.inner, name))

    async def init(self):
        await self.inner.init()
        return self


class WithoutBulk(Fewer):
    methods = (*Fewer.methods, "replace", "touch")


ALL = [(Watched, lock) for lock in LOCKS] + [(WithoutBulk, lock) for lock in LOCKS]
ALL += [(Fewer, lock) for lock in LOCKS if lock != "none"]
EACH = pytest.mark.parametrize(("store_type", "lock"), ALL, ids=[f"{kind.__name__}-{lock}" for kind, lock in ALL])
KNOWN = pytest.mark.parametrize("known", [True, False], ids=["known", "new"])


async def written(store, state):
    """Store a session, bypassing locks and leases."""
    inner = getattr(store, "inner", store)
    session = await MemorySessionStore.read(inner, ID)
    await Sessions(inner, lock="local").update(ID, lambda session: setattr(session, "state", state))
    return session


@EACH
@KNOWN
def test_a_turn_that_destroys_its_session_leaves_it_destroyed(store_type, lock, known):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        if known:
            await count(sessions)
        async with sessions.turn(ID) as session:
            session.state["count"] = 7
            await sessions.destroy(ID)
            assert await sessions.read(ID) is None
        assert await sessions.read(ID) is None
        await count(sessions)
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario, store_type)


@EACH
@KNOWN
def test_a_turn_does_not_destroy_what_was_written_since_it_began(store_type, lock, known):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        if known:
            await count(sessions)
        async with sessions.turn(ID):
            await written(store, {"newer": True})
            with pytest.raises(SessionConflictError, match=f"'{ID}' was not destroyed: another writer stored it"):
                await sessions.destroy(ID)
        assert (await sessions.read(ID)).state == {"newer": True}

    with_store(scenario, store_type)


@EACH
def test_a_turn_whose_session_others_destroyed_may_destroy_it_too(store_type, lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        await count(sessions)
        async with sessions.turn(ID):
            await MemorySessionStore.destroy(getattr(store, "inner", store), ID)
            await sessions.destroy(ID)
            await sessions.destroy(ID)
        assert await sessions.read(ID) is None

    with_store(scenario, store_type)


def assign(session):
    session.state = {"anew": True}


def change_inside(session):
    session.state["count"] = session.state.get("count", 0) + 1


def set_state(session):
    session.set_state({"anew": True})


def set_user(session):
    session.user = {"name": "Ada"}


def set_lifetime(session):
    session.expires_in = 5


def assign_the_same(session):
    session.state = session.state


def set_the_same(session):
    session.set_state(dict(session.state))


def spoil(session):
    session.state["count"] = object()


CHANGES = [assign, change_inside, set_state, set_user, set_lifetime, assign_the_same, set_the_same, spoil]


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("by", ["its turn", "a task of it", "another task"])
@KNOWN
def test_a_change_after_the_destruction_is_an_error(change, lock, by, known):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        if known:
            await count(sessions)
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                inside.set()
                if by == "its turn":
                    await sessions.destroy(ID)
                elif by == "a task of it":
                    await asyncio.create_task(sessions.destroy(ID))
                else:
                    await go_on.wait()
                change(session)

        task = asyncio.create_task(turn())
        await inside.wait()
        if by == "another task":
            await sessions.destroy(ID)
        go_on.set()
        with pytest.raises(
            SessionConflictError, match="was destroyed during its turn, which changed it afterwards"
        ) as told:
            await task
        assert told.value.session_id == ID
        assert await sessions.read(ID) is None
        await sessions.close()
        assert store._leases == {}
        await count(sessions)

    with_store(scenario)


def test_what_was_changed_before_the_last_destruction_is_no_error():
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        async with sessions.turn(ID) as session:
            await sessions.destroy(ID)
            session.state = {"anew": True}
            await sessions.destroy(ID)
        async with sessions.turn(ID) as session:
            session.state["count"] = object()  # a state that could not be saved
            await sessions.destroy(ID)
        assert await sessions.read(ID) is None

    with_store(scenario)


def test_an_exception_of_the_handler_goes_before_the_conflict():
    async def scenario(store):
        sessions = Sessions(store)
        with pytest.raises(ZeroDivisionError):
            async with sessions.turn(ID) as session:
                await sessions.destroy(ID)
                session.state["count"] = 1
                raise ZeroDivisionError
        assert await sessions.read(ID) is None

    with_store(scenario)


def test_destroying_in_a_turn_gives_the_lease_up_in_the_same_step():
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        await count(here)
        async with here.turn(ID) as session:
            assert not session.lease_lost
            await here.destroy(ID)
            assert session.lease_lost
            await count(there)
        assert (await there.read(ID)).state == {"count": 1}
        await here.close()
        assert "destroy" not in store.calls
        assert "release_leases" not in store.calls

    with_store(scenario)


@KNOWN
def test_a_turn_whose_session_is_destroyed_elsewhere_does_not_bring_it_back(known):
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        if known:
            await count(here)
        with pytest.raises(SessionConflictError):
            async with here.turn(ID) as session:
                session.state["name"] = "Ada"
                await there.destroy(ID)
        assert await there.read(ID) is None
        await count(there)

    with_store(scenario)


@KNOWN
def test_a_write_that_arrives_after_the_destruction_does_not_bring_it_back(known):
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        if known:
            await count(here)
        reached, go = store.hold_up("commit", "before")
        turn = asyncio.create_task(count(here))
        await reached.wait()
        await there.destroy(ID)
        store.before.clear()
        go.set()
        with pytest.raises(SessionConflictError):
            await turn
        assert await there.read(ID) is None

    with_store(scenario)


@pytest.mark.parametrize("lock", LOCKS)
@KNOWN
def test_a_destruction_waits_for_what_is_being_saved(lock, known):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        if known:
            await count(sessions)
        name = "commit" if lock == "auto" else "replace"
        reached, go = store.hold_up(name, "before")
        turn = asyncio.create_task(count(sessions))
        await reached.wait()
        destroying = asyncio.create_task(sessions.destroy(ID))
        await steps()
        assert not destroying.done()
        store.before.clear()
        go.set()
        await asyncio.gather(turn, destroying)
        assert await sessions.read(ID) is None

    class Slow(Watched):
        async def replace(self, session_id, session, *, expected):
            await self._gate(self.before, "replace")
            await MemorySessionStore.replace(self, session_id, session, expected=expected)

    with_store(scenario, Slow)


@pytest.mark.parametrize("lock", ["auto", "local"])
def test_a_turn_that_waits_for_its_turn_begins_after_the_destruction(lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        await count(sessions)
        async with sessions.turn(ID):
            loop = asyncio.get_running_loop()
            waiting = loop.create_task(count(sessions), context=contextvars.Context())
            await steps()
            await sessions.destroy(ID)
        await waiting
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_turn_that_is_about_to_begin_begins_after_the_destruction(when):
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        reached, go = store.hold_up("lease_many", when)
        turn = asyncio.create_task(count(sessions))
        await reached.wait()
        getattr(store, when).clear()
        await sessions.destroy(ID)
        go.set()
        await turn
        assert (await sessions.read(ID)).state == {"count": 1}
        assert store._leases == {}

    with_store(scenario)


def test_a_turn_does_not_begin_while_its_session_is_being_destroyed():
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        reached, go = store.hold_up("destroy", "before")
        destroying = asyncio.create_task(sessions.destroy(ID))
        await reached.wait()
        turn = asyncio.create_task(count(sessions))
        await steps()
        assert not turn.done()
        go.set()
        await asyncio.gather(destroying, turn)
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


def test_a_destruction_that_fails_keeps_no_turn_from_saving():
    async def scenario(store):
        sessions = Sessions(store)
        store.failing = {"destroy": StoreUnavailableError("away"), "remove": StoreUnavailableError("away")}
        await count(sessions)
        async with sessions.turn(ID) as session:
            with pytest.raises(StoreUnavailableError):
                await sessions.destroy(ID)
            session.state["count"] = 2
            destroying = asyncio.create_task(sessions.destroy(ID))
            await asyncio.wait([destroying])
            assert isinstance(destroying.exception(), StoreUnavailableError)
        assert (await sessions.read(ID)).state == {"count": 2}
        assert sessions._queue.destructions == {}

    class Failing(Watched):
        async def commit(self, steps):
            name = "remove" if steps[0].session is None else "commit"
            return await self._call(name, MemorySessionStore.commit.__get__(self), steps)

    with_store(scenario, Failing)


@pytest.mark.parametrize("lock", LOCKS)
@KNOWN
def test_an_update_never_recreates_what_was_destroyed_while_it_was_at_work(lock, known):
    async def scenario(store):
        here, there = Sessions(store, lock=lock), Sessions(store)
        if known:
            await count(here)
        calls = []

        async def change(session):
            calls.append(session.version)
            if known or len(calls) > 1:
                session.state["name"] = "Ada"
                await there.destroy(ID)
            else:  # another writer creates the session, so this attempt fails
                await written(store, {"count": 1})
                session.state["name"] = "Ada"

        with pytest.raises(SessionConflictError):
            await here.update(ID, change)
        assert await here.read(ID) is None
        assert len(calls) == (1 if known else 2)

    with_store(scenario)


@pytest.mark.parametrize("lock", LOCKS)
def test_an_update_that_is_destroyed_in_its_own_process_does_not_come_back(lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        await count(sessions)

        async def change(session):
            destroying = asyncio.create_task(sessions.destroy(ID))
            await asyncio.wait([destroying])
            session.state["name"] = "Ada"

        with pytest.raises(SessionConflictError):
            await sessions.update(ID, change)
        assert await sessions.read(ID) is None

    with_store(scenario)


@pytest.mark.parametrize("lock", ["local", "none"])
def test_an_update_that_lost_to_another_creator_goes_on(lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)

        async def change(session):
            if not session.version:
                await written(store, {"count": 1})
            session.state["name"] = "Ada"

        await sessions.update(ID, change)
        assert (await sessions.read(ID)).state == {"count": 1, "name": "Ada"}

    with_store(scenario)


@pytest.mark.parametrize("lock", LOCKS)
def test_destructions_beside_turns_remove_nothing_that_was_acknowledged_later(lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        acknowledged = []

        async def turn(number):
            with contextlib.suppress(SessionConflictError):
                async with sessions.turn(ID) as session:
                    await asyncio.sleep(0)
                    session.state.setdefault("tokens", []).append(number)
                acknowledged.append(number)

        async def clear():
            with contextlib.suppress(SessionConflictError):
                async with sessions.turn(ID) as session:
                    seen = list(session.state.get("tokens", []))
                    await asyncio.sleep(0)
                    await sessions.destroy(ID)
                    for number in seen:
                        acknowledged.remove(number)

        await asyncio.gather(*(clear() if number % 7 == 6 else turn(number) for number in range(70)))
        found = await sessions.read(ID)
        assert ([] if found is None else found.state["tokens"]) == acknowledged

    with_store(scenario)


class Order(msgspec.Struct):
    item: str = "tea"


def test_a_typed_session_that_is_destroyed_and_filled_anew_is_an_error():
    async def scenario(store):
        sessions = Sessions(store, state_type=Order)
        await sessions.update(ID, lambda session: session.set_state({"item": "coffee"}))
        with pytest.raises(SessionConflictError):
            async with sessions.turn(ID) as session:
                await sessions.destroy(ID)
                session.reset_state()
        assert await sessions.read(ID) is None

    with_store(scenario)
