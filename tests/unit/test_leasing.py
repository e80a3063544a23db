"""`Sessions` with leases: queueing, admission and renewal."""

import asyncio
import contextlib
import time

import pytest
from kit.watched import ID, LONG, Watched, count, steps, until, with_store

from botsession import (
    ConfigError,
    Held,
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
    TurnTimeoutError,
    UnsupportedError,
)


def test_two_sessions_on_one_store_exclude_each_other():
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        inside = []

        async def turn(sessions):
            async with sessions.turn(ID) as session:
                inside.append(session)
                assert len(inside) == 1
                await asyncio.sleep(0.001)
                session.state["count"] = session.state.get("count", 0) + 1
                inside.pop()

        await asyncio.gather(*(turn(sessions) for _ in range(8) for sessions in (here, there)))
        assert (await here.read(ID)).state == {"count": 16}
        assert store._leases == {}

    with_store(scenario)


def test_turns_of_different_sessions_do_not_wait_for_each_other():
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        async with here.turn("telegram:1"), there.turn("telegram:2"), here.turn("telegram:3"):
            assert len(store._leases) == 3
        await here.close()
        await there.close()
        assert store._leases == {}

    with_store(scenario)


def test_who_waits_sees_what_the_one_before_has_stored():
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)
        async with here.turn(ID) as session:
            waiting = asyncio.create_task(count(there))
            await until(lambda: store._leases[ID].queue)
            session.state["count"] = 10
        await waiting
        assert (await here.read(ID)).state == {"count": 11}

    with_store(scenario)


def test_local_turns_wait_within_the_process_and_take_no_lease():
    async def scenario(store):
        here, there = Sessions(store, lock="local"), Sessions(store, lock="local")
        await asyncio.gather(*(count(here) for _ in range(8)))
        assert (await here.read(ID)).state == {"count": 8}
        with pytest.raises(SessionConflictError):
            async with here.turn(ID) as session:
                await count(there)
                session.state["count"] = 0
        assert (await here.read(ID)).state == {"count": 9}
        assert not {"lease_many", "renew_leases", "release_leases"} & set(store.calls)

    with_store(scenario)


def test_turns_without_a_lock_run_side_by_side():
    async def scenario(store):
        sessions = Sessions(store, lock="none")
        both = asyncio.Barrier(2)

        async def turn():
            async with sessions.turn(ID) as session, asyncio.timeout(30):
                await both.wait()
                session.state["count"] = 1

        outcomes = await asyncio.gather(turn(), turn(), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "SessionConflictError"]
        assert not {"lease_many", "renew_leases", "release_leases"} & set(store.calls)

    with_store(scenario)


def test_a_local_turn_passes_by_a_lease_and_the_version_protects():
    async def scenario(store):
        with_leases, local = Sessions(store), Sessions(store, lock="local")
        with pytest.raises(SessionConflictError):
            async with with_leases.turn(ID) as session:
                await count(local)
                session.state["count"] = 0
        assert (await local.read(ID)).state == {"count": 1}
        assert store._leases == {}

    with_store(scenario)


@pytest.mark.parametrize("lock", ["", "global", None, "AUTO"])
def test_an_unknown_lock_is_refused(lock):
    with pytest.raises(ConfigError, match="lock must be one of"):
        Sessions("memory", lock=lock)


@pytest.mark.parametrize("name", ["lease_ttl", "lease_wait", "max_session_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True, None])
def test_a_length_that_is_none_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a number of (seconds|bytes) above zero"):
        Sessions("memory", **{name: value})


def test_who_waits_too_long_gives_up_and_its_handler_does_not_run():
    async def scenario(store):
        await store.hold()
        sessions = Sessions(store, lease_wait=0.05)
        with pytest.raises(TurnTimeoutError, match=ID):
            async with sessions.turn(ID):
                pytest.fail("the handler ran")
        assert len(sessions._queue) == 0
        assert await store.is_held()
        await store.give_up()
        await steps()
        assert store._leases == {}, "it waits still"
        await count(sessions)

    with_store(scenario)


class AlwaysHeld(Watched):
    async def lease_many(self, claims):
        self.calls.append("lease_many")
        return [Held(LONG) for _ in claims]


def test_waiting_costs_few_calls():
    async def scenario(store):
        began = time.monotonic()
        with pytest.raises(TurnTimeoutError):
            await count(Sessions(store, lease_wait=1))
        assert time.monotonic() - began >= 1
        assert 5 <= store.calls.count("lease_many") <= 30

    with_store(scenario, AlwaysHeld)


class FreeSoon(Watched):
    async def lease_many(self, claims):
        if self.calls.count("lease_many") < 5:
            self.calls.append("lease_many")
            return [Held(0.0) for _ in claims]
        return await super().lease_many(claims)


def test_a_lease_that_may_be_free_at_once_is_not_asked_for_without_a_pause():
    async def scenario(store):
        began = time.monotonic()
        await count(Sessions(store))
        assert time.monotonic() - began >= 5 * 0.0025

    with_store(scenario, FreeSoon)


def test_a_lease_is_renewed_while_its_turn_runs():
    async def scenario(store):
        for ttl in (0.15, 1.5, 15):  # a machine that stalls for longer rightly loses the lease
            store.renewals.clear()
            sessions = Sessions(store, lease_ttl=ttl)
            with contextlib.suppress(SessionConflictError):
                async with sessions.turn(f"telegram:{ttl}") as session:
                    await until(lambda: len(store.renewals) == 5 or not all(store.renewals))
                    if not all(store.renewals):
                        continue
                    assert await store.is_held(session.id)
                    session.state["done"] = True
                assert (await sessions.read(session.id)).state == {"done": True}
                assert session.id not in store._leases
                return
        pytest.fail("no lease was ever renewed in time")

    with_store(scenario)


def test_what_is_given_up_is_not_renewed():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=0.15)
        await count(sessions)
        await asyncio.sleep(0.3)
        assert store.renewals == []
        assert sessions._storage.leases.leases == set()

    with_store(scenario)


def test_a_renewal_that_fails_is_tried_again(caplog):
    async def scenario(store):
        store.failing["renew_leases"] = StoreUnavailableError("away")
        async with Sessions(store, lease_ttl=0.6).turn(ID):
            await until(lambda: "could not be renewed: away" in caplog.text)
            del store.failing["renew_leases"]
            await until(lambda: store.renewals)

    with_store(scenario)


class Renewing(Watched):
    """A store that refuses every renewal, as if the leases were lost."""

    async def renew_leases(self, holders, ttl):
        self.renewals += [False] * len(holders)
        return [False] * len(holders)


def test_a_turn_is_told_that_its_lease_was_lost(caplog):
    async def scenario(store):
        async with Sessions(store, lease_ttl=0.3).turn(ID) as session:
            await until(lambda: store.renewals)
            await steps()
            assert session.lease_lost

    with_store(scenario, Renewing)
    assert f"the lease of session '{ID}' was lost" in caplog.text


@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_a_turn_that_has_its_lease_has_not_lost_it(lock):
    async def scenario(store):
        async with Sessions(store, lock=lock, lease_ttl=LONG).turn(ID) as session:
            assert not session.lease_lost

    with_store(scenario)


def test_a_turn_that_was_paused_beyond_its_lease_saves_nothing_once_another_has_begun():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=0.1)
        await count(sessions)
        with pytest.raises(SessionConflictError):
            async with sessions.turn(ID) as session:
                time.sleep(0.2)  # noqa: ASYNC251 - the whole process stalls
                assert session.lease_lost
                before = await store.hold()
                session.state["count"] = 100
        assert await sessions.read(ID) == before
        assert await store.is_held(), "it has given up the lease of the other one"
        await store.give_up()
        assert store._leases == {}

    with_store(scenario)


def test_a_turn_that_was_paused_beyond_its_lease_saves_nothing_although_nobody_has_begun():
    async def scenario(store):
        sessions = Sessions(store, lease_ttl=0.1)
        with pytest.raises(SessionConflictError):
            async with sessions.turn(ID) as session:
                time.sleep(0.2)  # noqa: ASYNC251 - the whole process stalls
                session.state["count"] = 1
        assert await sessions.read(ID) is None
        await count(sessions)
        await sessions.close()
        assert store._leases == {}

    with_store(scenario)


def test_leases_that_are_due_are_renewed_in_one_call():
    async def scenario(store):
        for ttl in (0.15, 1.5, 15):  # a machine that stalls for longer rightly loses the leases
            store.calls.clear()
            store.renewals.clear()
            sessions = Sessions(store, lease_ttl=ttl)
            with contextlib.suppress(SessionConflictError):
                async with sessions.turn("telegram:1"), sessions.turn("telegram:2"), sessions.turn("telegram:3"):
                    await until(lambda: store.renewals)
                    if all(store.renewals):
                        assert store.calls.count("renew_leases") == 1
                        assert len(store.renewals) == 3
                        return
        pytest.fail("no lease was ever renewed in time")

    with_store(scenario)


class Partial:
    """A store with only some of the methods of `Watched`."""

    methods = ("init", "read", "write", "destroy", "lease_many", "renew_leases", "release_leases")

    def __init__(self):
        self.inner = Watched()
        for name in self.methods[1:]:
            setattr(self, name, getattr(self.inner, name))

    async def init(self):
        await self.inner.init()
        return self


class WithoutBulk(Partial):
    methods = (*Partial.methods, "replace")


class WithoutReplace(Partial):
    methods = (*Partial.methods, "read_many", "commit", "commit")


@pytest.mark.parametrize("store_type", [Partial, WithoutBulk, WithoutReplace])
def test_leases_are_not_used_where_the_store_has_not_what_they_need(store_type):
    async def scenario(store):
        sessions = Sessions(store)
        await asyncio.gather(*(count(sessions) for _ in range(8)))
        assert (await sessions.read(ID)).state == {"count": 8}
        assert not {"lease_many", "renew_leases", "release_leases"} & set(store.inner.calls)

    with_store(scenario, store_type)


class FourMethods(Partial):
    methods = ("init", "read", "write", "destroy")


@pytest.mark.parametrize("lock", ["auto", "local"])
def test_a_store_without_leases_has_turns_within_the_process(lock):
    async def scenario(store):
        sessions = Sessions(store, lock=lock)
        await asyncio.gather(*(count(sessions) for _ in range(8)))
        assert (await sessions.read(ID)).state == {"count": 8}

    with_store(scenario, FourMethods)


def test_turns_do_not_run_side_by_side_in_a_store_that_compares_no_versions():
    async def scenario(store):
        with pytest.raises(
            UnsupportedError, match=r"FourMethods cannot run turns of one session concurrently.*'replace'"
        ):
            Sessions(store, lock="none")

    with_store(scenario, FourMethods)


def test_an_update_waits_for_the_lease():
    async def scenario(store):
        here, there = Sessions(store), Sessions(store)

        def increment(session):
            session.state["count"] = session.state.get("count", 0) + 1

        await asyncio.gather(*(sessions.update(ID, increment) for _ in range(5) for sessions in (here, there)))
        assert (await here.read(ID)).state == {"count": 10}
        assert store.calls.count("commit") == 10

    with_store(scenario)


def test_leases_work_in_one_event_loop_after_another():
    store = Watched()
    sessions = Sessions(store, lease_ttl=0.15)

    async def abandon():
        await store.init()
        turn = sessions.turn(ID)
        await turn.__aenter__()

    asyncio.run(abandon())
    there = Sessions(store, lease_ttl=0.15)

    async def go_on():
        await count(there)
        assert (await there.read(ID)).state == {"count": 1}

    asyncio.run(go_on())
