from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from botsession import (
    Claim,
    ConfigError,
    CorruptSessionError,
    Session,
    SessionConflictError,
    StateError,
    Step,
    open_store,
)
from botsession.testing import ManualClock
from botsession_memory import MemorySessionStore


def with_store(body: Callable[[MemorySessionStore], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        await body(await MemorySessionStore(**options).init())

    asyncio.run(run())


async def fill(store: MemorySessionStore, *ids: str) -> None:
    for key in ids:
        await store.write(key, Session(key))


async def scanned(store: MemorySessionStore, prefix: str = "", limit: int | None = None) -> list[str]:
    found, after = [], None
    while True:
        page = await store.scan(prefix, after=after, limit=limit)
        found += [info.id for info in page.sessions]
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize(
    ("use", "kept"),
    [
        (lambda store: store.read("a"), "ac"),
        (lambda store: store.touch("a", None), "ac"),
        (lambda store: store.write("a", Session("a")), "ac"),
        (lambda store: store.read_many(["a"]), "ac"),
        (lambda store: store.scan(), "bc"),
        (lambda store: store.purge(), "bc"),
        (lambda store: store.read("x"), "bc"),
    ],
)
def test_the_least_recently_used_goes_first(use: Callable[[MemorySessionStore], Awaitable[Any]], kept: str) -> None:
    async def body(store: MemorySessionStore) -> None:
        await fill(store, "a", "b")
        await use(store)
        await fill(store, "c")
        assert "".join(await scanned(store)) == kept
        assert store.evictions == 1

    with_store(body, max_size=2)


def test_evictions_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def body(store: MemorySessionStore) -> None:
        await fill(store, "a", "b", "b")
        assert store.evictions == 0
        with caplog.at_level(logging.WARNING, "botsession.memory"):
            await fill(store, *"cdefg")
        assert store.evictions == 5
        assert [record.message for record in caplog.records] == [
            "more than max_size=2 sessions: the least recently used are dropped although they have not expired"
        ]
        await store.destroy("g")
        await fill(store, "h")
        assert store.evictions == 5

    with_store(body, max_size=2)


def test_expired_sessions_make_room_and_are_no_evictions(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()

    async def body(store: MemorySessionStore) -> None:
        await store.write("short", Session("short", expires_in=1))
        await fill(store, "long")
        clock.advance(minutes=2)
        await fill(store, "new")
        assert await scanned(store) == ["long", "new"]
        assert store.evictions == 0
        assert not caplog.records
        clock.advance(minutes=20)
        assert await store.purge() == 2
        assert await store.purge() == 0

    with_store(body, max_size=2, expires_in=10, clock=clock)


def test_an_evicted_session_is_absent_and_not_resurrected() -> None:
    async def body(store: MemorySessionStore) -> None:
        session = Session("a")
        await store.write("a", session)
        await fill(store, "b")
        assert await store.read("a") is None
        with pytest.raises(SessionConflictError):
            await store.replace("a", session, expected=session.version)

    with_store(body, max_size=1)


def test_nothing_is_shared_with_the_caller() -> None:
    async def body(store: MemorySessionStore) -> None:
        session = Session("a", {"list": [1]}, {"name": "Zoë"})
        await store.write("a", session)
        session.state["list"].append(2)
        one, two = [found for found in await store.read_many(["a", "a"]) if isinstance(found, Session)]
        assert one.state == two.state == {"list": [1]}
        assert one.state["list"] is not two.state["list"]
        assert one.user is not two.user

    with_store(body)


def test_a_batch_with_a_refused_state_stores_nothing() -> None:
    async def body(store: MemorySessionStore) -> None:
        batch = [Step.replace(Session("a"), None), Step.replace(Session("b", {"x": object()}), None)]
        with pytest.raises(StateError):
            await store.commit(batch)
        assert await scanned(store) == []

    with_store(body)


def test_pages_of_a_scan() -> None:
    clock = ManualClock()

    async def body(store: MemorySessionStore) -> None:
        await fill(store, *(f"{letter}:{n:03}" for letter in "abc" for n in range(700)))
        first = await store.scan()
        assert len(first.sessions) == 1000 and first.next is not None
        assert len(set(await scanned(store, limit=7))) == 2100
        assert await scanned(store, "b:", limit=100) == [f"b:{n:03}" for n in range(700)]
        assert (await store.scan("d:")).next is None
        for limit in (0, -1):
            with pytest.raises(ConfigError, match="limit is not a number of sessions"):
                await store.scan(limit=limit)
        await store.write("b:short", Session("b:short", expires_in=0.5))
        page = await store.scan("b:", limit=700)
        assert page.next == "b:699"
        clock.advance(minutes=1)
        assert await store.scan("b:", after=page.next) == await store.scan("z")

    with_store(body, clock=clock)


def test_two_scans_at_the_same_time_miss_nothing() -> None:
    async def body(store: MemorySessionStore) -> None:
        ids = [f"a:{n}" for n in range(10)]
        await fill(store, *ids)
        found: dict[str, list[str]] = {"one": [], "two": []}
        cursors: dict[str, str | None] = {"one": None, "two": None}
        for scan in ["one", "one", "two", "one", "two", "two", "two", "one", "two", "one"]:
            page = await store.scan(after=cursors[scan], limit=2)
            found[scan] += [info.id for info in page.sessions]
            cursors[scan] = page.next
            await fill(store, f"b:{len(found['one'])}{scan}")
        assert set(ids) <= set(found["one"])
        assert set(ids) <= set(found["two"])

    with_store(body)


def test_a_closed_store_opens_again_with_what_it_held() -> None:
    async def body(store: MemorySessionStore) -> None:
        await fill(store, "a")
        await store.close()
        await store.init()
        assert await store.read("a") is not None

    with_store(body)


def test_options() -> None:
    store = open_store("memory", max_size=7, expires_in=1)
    assert repr(store) == repr(open_store("memory://", max_size=7)) == "MemorySessionStore(max_size=7)"
    for options in ({"max_size": 0}, {"max_size": "7"}, {"size": 7}, {"expires_in": 0}):
        with pytest.raises(ConfigError):
            open_store("memory", **options)
    with pytest.raises(ConfigError, match="nothing more"):
        open_store("memory://somewhere")


@pytest.mark.parametrize(
    "damage", [lambda raw: b"", lambda raw: b"{", lambda raw: raw[:-3], lambda raw: b"{ " + raw[1:-3]]
)
def test_what_is_unreadable_is_not_renewed(damage) -> None:
    async def body(store: MemorySessionStore) -> None:
        await fill(store, "a")
        record, expires_at = store._records["a"]
        spoilt = store._records["a"] = damage(record), expires_at
        with pytest.raises(CorruptSessionError):
            await store.touch("a", None)
        assert store._records["a"] == spoilt

    with_store(body)


GONE, ALIVE = 0.0, 300.0


async def claim(store: MemorySessionStore, session_id: str, seconds: float, holder: str = "a") -> None:
    await store.lease_many([Claim(session_id, holder, seconds, seconds)])


async def leases_held_by(store: MemorySessionStore, holder: str, ids: list[str]) -> list[str]:
    renewed = await store.renew_leases(dict.fromkeys(ids, holder), ALIVE)
    return [session_id for session_id, is_held in zip(ids, renewed, strict=True) if is_held]


def test_a_purge_forgets_the_leases_of_the_dead_and_no_others() -> None:
    async def body(store: MemorySessionStore) -> None:
        ids = [f"a:{number}" for number in range(100)]
        for number, session_id in enumerate(ids):
            await claim(store, session_id, GONE if number % 2 else ALIVE)
        await claim(store, "a:0", ALIVE, "waits")
        await claim(store, "a:1", GONE, "waits")
        assert await store.purge() == 0
        assert store._leases.keys() == set(ids[::2])
        assert await leases_held_by(store, "a", ids) == ids[::2]
        assert len(store._leases["a:0"].queue) == 1

    with_store(body)


def test_leases_of_the_dead_are_forgotten_little_by_little() -> None:
    async def body(store: MemorySessionStore) -> None:
        held = [f"a:{number}" for number in range(5)]
        for session_id in held:
            await claim(store, session_id, ALIVE)
        most = 0
        for number in range(1000):
            await claim(store, f"b:{number}", GONE)
            most = max(most, len(store._leases))
        assert most <= len(held) + 10
        assert await leases_held_by(store, "a", held) == held

    with_store(body)


def test_a_lease_that_is_given_up_or_destroyed_leaves_nothing() -> None:
    async def body(store: MemorySessionStore) -> None:
        await claim(store, "a:1", ALIVE)
        await claim(store, "a:2", ALIVE)
        await store.release_leases({"a:1": "a", "a:3": "a"})
        await store.destroy("a:2")
        assert store._leases == {}

    with_store(body)
