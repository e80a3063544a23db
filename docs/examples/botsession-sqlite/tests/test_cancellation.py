"""A cancelled call leaves no transaction behind, neither open nor pending."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botsession_sqlite import SqliteSessionStore

from botsession import Claim, Session

Sql = Callable[..., list[Any]]
Change = Callable[[SqliteSessionStore, str], Awaitable[list[Any]]]
Locked = Callable[[], contextlib.AbstractContextManager[None]]

MOMENT = 0.1
"""Long enough for a transaction to begin."""

SYNCHRONOUS = "SELECT synchronous FROM pragma_synchronous"


def claims(number: int) -> list[Claim]:
    return [Claim(f"{number}:{each}", "x", 600.0, 600.0) for each in "abc"]


def test_who_is_cancelled_waits_for_the_outcome(path: Path, sql: Sql, locked: Locked) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path, timeout=30).init()
        for number in range(5):
            with locked():
                writing = asyncio.create_task(store.write("a", Session("a", {"n": number})))
                await asyncio.sleep(MOMENT)
                writing.cancel()
                await asyncio.sleep(MOMENT)
                assert not writing.done()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert sql("SELECT json_extract(record, '$.state.n') FROM sessions") == [(number,)]
        await store.close()

    asyncio.run(main())


def test_a_transaction_that_is_cancelled_again_and_again_is_whole(
    path: Path, sql: Sql, change: Change, locked: Locked
) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path, timeout=30).init()
        for number in range(5):
            with locked():
                claiming = asyncio.create_task(store.lease_many(claims(number)))
                await asyncio.sleep(MOMENT)
                claiming.cancel()
                await asyncio.sleep(0)
                claiming.cancel()
            while not claiming.done():
                claiming.cancel()
                await asyncio.sleep(0)
            assert claiming.cancelled()
            assert len(sql("SELECT id FROM leases")) == 3 * (number + 1)
            assert await change(store, SYNCHRONOUS) == [(2,)]
        await store.close()

    asyncio.run(main())


def test_who_is_cancelled_before_its_turn_changes_nothing(path: Path, sql: Sql, locked: Locked) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path, timeout=30).init()
        with locked():
            first, second = (asyncio.create_task(store.lease_many(claims(number))) for number in range(2))
            await asyncio.sleep(MOMENT)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert not first.done()
        assert await first == [None, None, None]
        assert len(sql("SELECT id FROM leases")) == 3
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("moments", range(0, 40, 4))
def test_an_event_loop_that_ends_leaves_no_transaction_open(path: Path, sql: Sql, moments: int, change: Change) -> None:
    async def begin() -> SqliteSessionStore:
        store = await SqliteSessionStore(path).init()
        begun.extend(asyncio.create_task(store.lease_many(claims(number))) for number in range(10))
        begun.append(asyncio.create_task(store.write("a", Session("a"))))
        for _ in range(moments):
            await asyncio.sleep(0.0002)
        return store

    async def end() -> None:
        assert await change(store, SYNCHRONOUS) == [(2,)]
        assert len(sql("SELECT id FROM leases")) % 3 == 0
        sql("DELETE FROM leases")
        await store.close()

    begun: list[asyncio.Task[Any]] = []
    store = asyncio.run(begin())
    asyncio.run(end())
    assert all(task.done() for task in begun)


def test_opening_may_be_cancelled_at_any_moment(path: Path) -> None:
    async def main() -> None:
        for moments in range(30):
            opening = asyncio.create_task(SqliteSessionStore(path).init())
            for _ in range(moments):
                await asyncio.sleep(0.0002)
            opening.cancel()
            [outcome] = await asyncio.gather(opening, return_exceptions=True)
            if isinstance(outcome, SqliteSessionStore):
                await outcome.close()
            else:
                assert isinstance(outcome, asyncio.CancelledError)

    asyncio.run(main())
