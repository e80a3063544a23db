"""An answer that is lost, a server that hangs, an error that it gives: nothing is done twice, nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from botsession.errors import StoreError, StoreUnavailableError
from botsession.lifetime import new_version
from botsession.protocol import (
    ANYTHING,
    Anything,
    Claim,
    Step,
    StoredSession,
    SupportsClose,
    SupportsCommit,
    SupportsLease,
    SupportsReplace,
    SupportsTouch,
)
from botsession.testing.bench import (
    ID,
    AnyStore,
    Bench,
    scenario,
)
from botsession.testing.calls import (
    calls,
    late,
    steps,
    when_it_is_back,
)
from botsession.testing.hooks import Hooks
from botsession.testing.leases import (
    LONG,
    A,
    B,
    is_held,
    take,
)
from botsession.testing.proxy import Direction, Proxy

ROUND_TRIPS = 12
"""More than any call makes."""

MOMENT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ERRORS = 12
SPARE = 3
"""So many connections more than before may be open after so many errors."""

Call = Callable[[AnyStore, StoredSession, StoredSession | None], Coroutine[Any, Any, Any]]


class Networks(Hooks):
    """What the hooks `address` and `through` make possible to try."""

    @scenario()
    async def test_a_lost_answer_is_no_conflict(self, bench: Bench) -> None:
        await self._lose(bench, "answer")

    @scenario()
    async def test_a_lost_request_is_not_taken_for_done(self, bench: Bench) -> None:
        await self._lose(bench, "request")

    async def _lose(self, bench: Bench, direction: Direction) -> None:
        """Calls each method while one request after the other, or its answer, is lost."""
        async with bench.proxied() as (proxy, store):
            for name, (present, call) in self._changes(bench).items():
                for number in range(ROUND_TRIPS):
                    await bench.store.destroy(ID)
                    before = await bench.write(state={"by": "before"}) if present else None
                    session = bench.session(state={"by": "call"})
                    await when_it_is_back(store, ID)
                    lost = proxy.lost
                    proxy.lose(direction, after=number)
                    [outcome] = await asyncio.gather(call(store, session, before), return_exceptions=True)
                    proxy.calm()
                    outcome = outcome[0] if isinstance(outcome, list) else outcome
                    where = f"{name}, whose {direction} number {number + 1} was lost"
                    unknown = isinstance(outcome, StoreUnavailableError)
                    assert unknown or outcome in (None, True), f"{where}, gives {outcome!r}"
                    found = await bench.store.read(ID)
                    done = found is None if name.startswith(("destroy", "removal")) else found == session
                    done = done if name != "touch" else found is not None and found.expires_at is None
                    assert done or (unknown and found == before), f"{where}, gave {outcome!r}; there is {found}"
                    if proxy.lost == lost:
                        break
                else:
                    raise AssertionError(f"{name} makes more than {ROUND_TRIPS} round trips")

    def _changes(self, bench: Bench) -> dict[str, tuple[bool, Call]]:
        """Returns, by name, the calls that change a session: whether it is there before, and the call."""
        store = bench.store
        each: dict[str, tuple[bool, Call]] = {
            "write": (True, lambda store, session, _: store.write(ID, session)),
            "destroy": (True, lambda store, *_: store.destroy(ID)),
        }
        if isinstance(store, SupportsTouch):
            each["touch"] = (True, lambda store, *_: store.touch(ID, None))
        if isinstance(store, SupportsReplace):
            for present in (True, False):
                each[f"replace of what is {_state(present)}"] = (
                    present,
                    lambda store, session, before: store.replace(ID, session, expected=_version(before)),
                )
        if isinstance(store, SupportsCommit):
            each["removal"] = (True, lambda store, *_: store.commit([Step.remove(ID)]))
            each["removal of a version"] = (
                True,
                lambda store, _, before: store.commit([Step.remove(ID, _removed(before))]),
            )
            for present in (True, False):
                each[f"commit of what is {_state(present)}"] = (
                    present,
                    lambda store, session, before: store.commit([Step.replace(session, _version(before))]),
                )
            for present in (True, False):
                each[f"restoration of what is {_state(present)}"] = (present, self._restore)
        return each

    @scenario(SupportsLease, SupportsCommit)
    async def test_a_lost_answer_leaves_leases_right(self, bench: Bench) -> None:
        claim = [Claim(ID, A, LONG, LONG)]
        each: dict[str, tuple[bool, Call]] = {
            "lease_many": (True, lambda store, *_: store.lease_many(claim)),
            "lease_many of what is absent": (False, lambda store, *_: store.lease_many(claim)),
            "renew_leases": (True, lambda store, *_: store.renew_leases({ID: A}, LONG)),
            "release_leases": (True, lambda store, *_: store.release_leases({ID: A})),
            "commit": (True, _replace_and_give_up),
            "commit of what is absent": (False, _replace_and_give_up),
            "removal": (True, _destroy_and_give_up),
        }
        async with bench.proxied() as (proxy, store):
            for name, (present, call) in each.items():
                for number in range(ROUND_TRIPS):
                    await bench.store.destroy(ID)
                    await bench.store.release_leases({ID: B})
                    before = await bench.write(state={"by": "before"}) if present else None
                    if not name.startswith("lease_many"):
                        await take(bench, A)
                    session = bench.session(state={"by": "call"})
                    await when_it_is_back(store, ID)
                    lost = proxy.lost
                    proxy.lose("answer", after=number)
                    [outcome] = await asyncio.gather(call(store, session, before), return_exceptions=True)
                    proxy.calm()
                    outcome = outcome[0] if isinstance(outcome, list) else outcome
                    where = f"{name}, whose answer number {number + 1} was lost"
                    unknown = isinstance(outcome, StoreUnavailableError)
                    right = (before,) if name.startswith("lease_many") else (None, True)
                    assert unknown or outcome in right, f"{where}, gives {outcome!r}"
                    after = {"commit": session, "removal": None}.get(name.partition(" ")[0], before)
                    found = await bench.store.read(ID)
                    assert found == after or (unknown and found == before), f"{where}: there is {found}"
                    held = await is_held(bench, by=A)
                    if name.startswith(("lease_many", "renew_leases")):
                        assert held or unknown, f"{where}: the lease is not held"
                    elif not unknown or (found == after != before):
                        assert not held, f"{where}: the lease was not given up"
                        await take(bench, B)
                    if proxy.lost == lost:
                        break

    @scenario()
    async def test_a_hung_server_ends_every_call(self, bench: Bench) -> None:
        before = await bench.write(state={"by": "before"})
        async with bench.proxied() as (proxy, store):
            await store.read(ID)
            opening = self._made_through(bench, proxy.host, proxy.port)
            each = {**calls(store, bench.session(state={"by": "call"}), before), "init": opening.init}
            async with proxy.hanging():
                tasks = {name: asyncio.ensure_future(call()) for name, call in each.items()}
                limit = self.time_limit / 2
                hanging = await late(tasks, limit)
                assert not hanging, f"without an answer they wait longer than {limit:g} s: {', '.join(hanging)}"
            for name, task in tasks.items():
                [outcome] = await asyncio.gather(task, return_exceptions=True)
                errors = outcome if isinstance(outcome, list) else [outcome]
                right = all(isinstance(error, StoreUnavailableError) for error in errors)
                assert right, f"{name} gives {outcome!r} without an answer"
            assert await when_it_is_back(store, ID) == before
            if isinstance(opening, SupportsClose):
                await opening.close()

    @scenario(SupportsClose)
    async def test_close_ends_while_the_server_hangs(self, bench: Bench) -> None:
        before = await bench.write()
        async with bench.proxied() as (proxy, store):
            await store.read(ID)
            each = calls(store, bench.session(), before)
            async with proxy.hanging():
                tasks = {name: asyncio.ensure_future(call()) for name, call in each.items()}
                await steps(20)
                tasks["close"] = asyncio.ensure_future(store.close())
                hanging = await late(tasks, self.time_limit / 2)
                assert not hanging, f"while the server hangs, {', '.join(hanging)} did not end"
            await tasks["close"]
            for name, task in tasks.items():
                [outcome] = await asyncio.gather(task, return_exceptions=True)
                right = isinstance(outcome, StoreError) or not isinstance(outcome, BaseException)
                assert right, f"{name} ended by {outcome!r}"

    @scenario()
    async def test_a_call_that_is_cancelled_or_fails_leaks_no_connection(self, bench: Bench) -> None:
        async with bench.proxied() as (proxy, store):
            before = bench.session()
            await store.write(ID, before)
            for name, call in calls(store, bench.session(), before).items():
                await asyncio.gather(call(), return_exceptions=True)
                opened = proxy.connections
                for number in range(ERRORS):
                    task = asyncio.ensure_future(call())
                    await steps(number)
                    task.cancel()
                    await asyncio.wait([task])
                await self._no_more_than(opened + SPARE, name, proxy)
            if isinstance(store, SupportsReplace):
                for _ in range(ERRORS):
                    await asyncio.gather(store.replace(ID, bench.session(), expected="0" * 16), return_exceptions=True)
                await self._no_more_than(opened + SPARE, "a conflict", proxy)

    @scenario()
    async def test_an_error_of_the_server_leaks_no_connection(self, bench: Bench) -> None:
        async with bench.proxied() as (proxy, store):
            before = bench.session()
            await store.write(ID, before)
            await store.read(ID)
            opened = proxy.connections
            async with self.refusal(store):
                for _ in range(ERRORS):
                    with pytest.raises(StoreError):
                        await store.write(ID, bench.session(state={"by": "call"}))
                await self._no_more_than(opened + SPARE, "an error of the server", proxy)
                assert await store.read(ID) == before
            await store.write(ID, bench.session(state={"by": "after"}))

    async def _no_more_than(self, most: int, what: str, proxy: Proxy) -> None:
        for _ in range(20):
            if proxy.connections <= most:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"after {ERRORS} times {what}, {proxy.connections} connections are open")

    def _made_through(self, bench: Bench, host: str, port: int) -> AnyStore:
        return bench.make(**self.through(bench.namespace, host, port))

    async def _restore(self, store: AnyStore, session: StoredSession, before: StoredSession | None) -> object:
        session.version, session.expires_at = new_version(), None
        session.created_at = session.last_activity = MOMENT
        return await store.commit([Step.restore(session, before)])


def _replace_and_give_up(
    store: AnyStore, session: StoredSession, before: StoredSession | None
) -> Coroutine[Any, Any, object]:
    return store.commit([Step.replace(session, _version(before), A)])


def _destroy_and_give_up(
    store: AnyStore, _: StoredSession, before: StoredSession | None
) -> Coroutine[Any, Any, object]:
    return store.commit([Step.remove(ID, _removed(before), A)])


def _version(session: StoredSession | None) -> str | None:
    return None if session is None else session.version


def _state(present: bool) -> str:
    return "there" if present else "absent"


def _removed(session: StoredSession | None) -> str | Anything:
    return ANYTHING if session is None else session.version
