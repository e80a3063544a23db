"""No turn leaves its lease behind, no matter how or when it ends."""

import asyncio
import contextlib
import time

import pytest
from kit.watched import ID, LONG, Watched, count, set_text, steps, until, with_store

from botsession import (
    Claim,
    SessionConflictError,
    Sessions,
    SessionTooLargeError,
    StateError,
    StoreError,
    StoreUnavailableError,
)
from botsession.turns.leases import LeaseManager
from botsession_memory import MemorySessionStore


async def change(sessions, store, session):
    session.state["count"] = 2


async def change_nothing(sessions, store, session):
    pass


async def fail(sessions, store, session):
    session.state["count"] = 2
    raise ZeroDivisionError


async def leave(sessions, store, session):
    raise SystemExit(3)


async def destroy(sessions, store, session):
    session.state["count"] = 2
    await sessions.destroy(ID)


async def destroy_elsewhere(sessions, store, session):
    session.state["count"] = 2
    await MemorySessionStore.destroy(store, ID)


async def write_elsewhere(sessions, store, session):
    await count(Sessions(store, lock="local"))
    session.state["count"] = 0


async def spoil(sessions, store, session):
    session.state["count"] = object()


async def swell(sessions, store, session):
    session.state["text"] = "x" * 2_000_000


async def lose_the_backend(sessions, store, session):
    session.state["count"] = 2
    store.failing["commit"] = StoreUnavailableError("away")


async def time_out(sessions, store, session):
    async with asyncio.timeout(0):
        await asyncio.sleep(LONG)


EXITS = [
    (change, None),
    (change_nothing, None),
    (fail, ZeroDivisionError),
    (leave, SystemExit),
    (destroy, None),
    (destroy_elsewhere, SessionConflictError),
    (write_elsewhere, SessionConflictError),
    (spoil, StateError),
    (swell, SessionTooLargeError),
    (lose_the_backend, StoreUnavailableError),
    (time_out, TimeoutError),
]


@pytest.mark.parametrize(("handler", "error"), EXITS, ids=[handler.__name__ for handler, _ in EXITS])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_the_lease_is_given_up_however_a_turn_ends(handler, error, known):
    if handler is destroy_elsewhere and not known:
        pytest.skip("what was not there is not destroyed")

    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        if known:
            await count(sessions)
        with pytest.raises(error) if error else contextlib.nullcontext():
            async with sessions.turn(ID) as session:
                assert await store.is_held()
                await handler(sessions, store, session)
        await sessions.close()
        assert store._leases == {}
        assert sessions._storage.leases.leases == set()

    with_store(scenario)


PHASES = [
    ("lease_many", "before"),
    ("lease_many", "after"),
    ("touch", "before"),
    ("touch", "after"),
    ("handler", None),
    ("commit", "before"),
    ("commit", "after"),
]


@pytest.mark.parametrize(("name", "when"), PHASES)
def test_the_lease_is_given_up_whenever_a_turn_is_cancelled(name, when):
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        await count(sessions)
        if name == "touch":
            expires_at = store.lifetime.now() + store.lifetime.expires_in / 4
            await MemorySessionStore.touch(store, ID, expires_at)
        in_handler = asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                if name == "handler":
                    in_handler.set()
                    await asyncio.Event().wait()
                if name == "commit":
                    session.state["count"] += 1

        reached, go = (in_handler, None) if name == "handler" else store.hold_up(name, when)
        task = asyncio.create_task(turn())
        await reached.wait()
        getattr(store, when or "before").pop(name, None)
        task.cancel()
        await steps()
        if go is not None:
            go.set()
        await asyncio.wait([task])
        assert task.cancelled()
        await steps()
        assert store._leases == {}
        await count(sessions)

    with_store(scenario)


@pytest.mark.parametrize("name", ["lease_many", "commit"])
def test_the_lease_is_given_up_where_a_turn_is_cancelled_whose_call_waits_for_others(name):
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)

        async def turn(session_id):
            async with sessions.turn(session_id) as session:
                session.state["count"] = 1

        reached, go = store.hold_up(name, "before")
        first = asyncio.create_task(turn("telegram:1"))
        await reached.wait()
        others = [asyncio.create_task(turn(f"telegram:{number}")) for number in (2, 3)]
        await steps()
        others[0].cancel()
        await steps()
        store.before.clear()
        go.set()
        await asyncio.wait([first, *others])
        await steps()
        assert store._leases == {}

    with_store(scenario)


async def look(sessions, session_id=ID):
    async with sessions.turn(session_id):
        pass


def test_a_turn_that_changed_nothing_does_not_wait_until_its_lease_is_given_up_but_the_next_one_does():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        reached, go = store.hold_up("release_leases", "before")
        await look(sessions)
        await reached.wait()
        following = [asyncio.create_task(each(sessions)) for each in (count, look, count)]
        await steps()
        assert store.calls.count("lease_many") == 1
        following[0].cancel()
        store.before.clear()
        go.set()
        outcomes = await asyncio.gather(*following, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, type(None), type(None)]
        assert (await sessions.read(ID)).state == {"count": 1}
        assert store._leases == {}

    with_store(scenario)


def test_leases_that_were_left_are_given_up_together():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        reached, go = store.hold_up("release_leases", "before")
        await look(sessions, "telegram:0")
        await reached.wait()
        for number in range(1, 10):
            await look(sessions, f"telegram:{number}")
        store.before.clear()
        go.set()
        await sessions.close()
        assert store._leases == {}
        assert store.calls.count("release_leases") == 2

    with_store(scenario)


def test_close_waits_until_every_lease_is_given_up():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        reached, go = store.hold_up("release_leases", "before")
        await look(sessions)
        await reached.wait()
        closing = asyncio.create_task(sessions.close())
        await steps()
        assert not closing.done()
        go.set()
        await closing
        assert store._leases == {}

    with_store(scenario)


class Completing(Watched):
    """Completes a claim whose caller is cancelled, as a client does that works in threads."""

    async def lease_many(self, claims):
        claiming = asyncio.ensure_future(super().lease_many(claims))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            raise


def test_close_gives_up_no_lease_before_its_claim_has_arrived():
    async def scenario(store):
        manager = LeaseManager(store, ttl=LONG, wait=5)
        manager.use_loop(asyncio.get_running_loop())
        reached, go = store.hold_up("lease_many", "before")
        taking = asyncio.create_task(manager.take(ID, time.monotonic() + LONG))
        await reached.wait()
        settling = asyncio.create_task(manager.settle(close=True))
        await steps()
        taking.cancel()
        await steps()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await settling
        assert store._leases == {}

    with_store(scenario, Completing)


def test_a_turn_that_waits_for_a_lease_ends_when_the_store_is_closed():
    async def scenario(store):
        await store.lease_many([Claim(ID, "other", LONG, LONG)])
        manager = LeaseManager(store, ttl=LONG, wait=5)
        manager.use_loop(asyncio.get_running_loop())
        taking = asyncio.create_task(manager.take(ID, time.monotonic() + LONG))
        await until(lambda: store.calls.count("lease_many") > 2)
        await manager.settle(close=True)
        with pytest.raises(StoreError, match="was closed"):
            await taking
        await manager.settle(close=False)
        assert store._leases[ID].queue == []

    with_store(scenario)


def test_a_lease_that_cannot_be_given_up_fails_no_turn_that_changed_nothing(caplog):
    async def scenario(store):
        store.failing["release_leases"] = StoreUnavailableError("away")
        async with Sessions(store) as sessions:
            await look(sessions)
        assert sessions._storage.leases.leases == set()

    with_store(scenario)
    assert f"the lease of session '{ID}' could not be given up: away" in caplog.text


def test_who_is_cancelled_while_waiting_for_a_lease_waits_no_more():
    async def scenario(store):
        await store.hold()
        sessions = Sessions(store, lease_ttl=LONG)
        task = asyncio.create_task(count(sessions))
        await until(lambda: store._leases[ID].queue)
        waiting = asyncio.create_task(count(sessions))
        await steps()
        waiting.cancel()
        task.cancel()
        await asyncio.wait([task, waiting])
        assert store._leases[ID].queue == []
        await store.give_up()
        assert store._leases == {}
        assert len(sessions._queue) == 0
        await count(sessions)

    with_store(scenario)


def test_the_lease_is_given_up_where_a_turn_is_cancelled_that_waits_for_its_destruction():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        ready, end = asyncio.Event(), asyncio.Event()

        async def turn():
            async with sessions.turn(ID) as session:
                session.state["count"] = 1
                ready.set()
                await end.wait()

        task = asyncio.create_task(turn())
        await ready.wait()
        reached, go = store.hold_up("destroy", "before")
        destroying = asyncio.create_task(sessions.destroy(ID))
        await reached.wait()
        end.set()
        await steps()
        task.cancel()
        await steps()
        store.before.clear()
        go.set()
        await asyncio.wait([task, destroying])
        await destroying
        await steps()
        assert store._leases == {}
        assert sessions._storage.leases.leases == set()

    with_store(scenario)


@pytest.mark.parametrize("known", [True, False])
def test_a_release_that_fails_does_not_hide_what_the_handler_raised(known):
    async def scenario(store):
        sessions = Sessions(store)
        if known:
            await count(sessions)
        store.failing["release_leases"] = StoreUnavailableError("away")
        with pytest.raises(ZeroDivisionError):
            async with sessions.turn(ID):
                raise ZeroDivisionError
        assert len(sessions._queue) == 0
        assert sessions._storage.leases.leases == set()

    with_store(scenario)


def test_a_release_that_fails_does_not_hide_why_nothing_was_stored():
    async def scenario(store):
        sessions = Sessions(store)
        store.failing["release_leases"] = StoreUnavailableError("away")
        with pytest.raises(StateError):
            async with sessions.turn(ID) as session:
                session.state["count"] = object()
        store.failing["commit"] = StoreUnavailableError("lost")
        with pytest.raises(StoreUnavailableError, match="lost"):
            await count(sessions, "telegram:1")
        store.failing["lease_many"] = StoreUnavailableError("refused")
        with pytest.raises(StoreUnavailableError, match="refused"):
            await count(sessions, "telegram:2")

    with_store(scenario)


def test_an_unreadable_session_keeps_no_lease():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        await count(sessions)
        set_text(store, b"{")
        with pytest.raises(Exception, match="unreadable"):
            await count(sessions)
        assert store._leases == {}

    with_store(scenario)


@pytest.mark.parametrize("call", ["lease_many", "commit"])
def test_a_backend_that_is_lost_is_not_waited_for_a_second_time(call):
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=LONG)
        store.failing[call] = StoreUnavailableError("away")
        reached, go = store.hold_up("release_leases", "before")
        for _ in range(2):  # the next turn does not wait for it either
            with pytest.raises(StoreUnavailableError):
                await count(sessions)
            await reached.wait()
            store.failing["lease_many"] = store.failing[call]
        store.failing.clear()
        go.set()
        await sessions.close()
        assert store._leases == {}
        await count(sessions)
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)
