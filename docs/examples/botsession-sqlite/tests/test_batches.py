"""Many sessions in one transaction."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botsession_sqlite import SqliteSessionStore

from botsession import (
    Session,
    SessionConflictError,
    Step,
)
from botsession.testing import ManualClock

Sql = Callable[..., list[Any]]


def test_an_id_that_comes_twice_in_a_batch_is_compared_in_order(path: Path) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        first, second, third = Session("a", {"n": 1}), Session("a", {"n": 2}), Session("b", {"n": 3})
        outcomes = await store.commit([Step.replace(each, None) for each in (first, second, third)])
        assert [type(outcome) for outcome in outcomes] == [type(None), SessionConflictError, type(None)]
        found = await store.read_many(["a", "a", "b", "c"])
        assert [each.state["n"] if isinstance(each, Session) else each for each in found] == [1, 1, 3, None]
        assert found[0] is not found[1]
        await store.close()

    asyncio.run(main())


def test_a_batch_takes_any_id_and_any_text(path: Path) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        ids = ["'", '"', "\\", "\\u0041", "A", "[1]", "é", "e\u0301", "\u2028", "\U0001f600" * 128]
        stored = await store.commit([Step.replace(Session(each, {each: each + "\0"}), None) for each in ids])
        assert stored == [None] * len(ids)
        found = await store.read_many(ids)
        assert [each.state for each in found if isinstance(each, Session)] == [{each: each + "\0"} for each in ids]
        assert [await store.read(each) for each in ids] == found
        assert await store.commit([Step.remove(each) for each in ids]) == [None] * len(ids)
        assert (await store.scan()).sessions == []
        await store.close()

    asyncio.run(main())


def test_a_batch_may_be_large(path: Path) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        ids = [f"a:{number}" for number in range(40_000)]
        stored = await store.commit([Step.replace(Session(each, {"of": each}), None) for each in ids])
        assert stored == [None] * len(ids)
        found = await store.read_many(ids)
        assert [each.state["of"] for each in found if isinstance(each, Session)] == ids
        assert await store.commit([Step.remove(each) for each in ids[1:]]) == [None] * (len(ids) - 1)
        assert [info.id for info in (await store.scan()).sessions] == ids[:1]
        await store.close()

    asyncio.run(main())


def test_purge_removes_more_than_one_transaction_does(path: Path, sql: Sql) -> None:
    clock = ManualClock()

    async def main() -> None:
        store = await SqliteSessionStore(path, expires_in=1, clock=clock).init()
        await store.commit([Step.replace(Session(f"a:{number}"), None) for number in range(2500)])
        await store.write("stays", Session("stays", expires_in=None))
        clock.advance(minutes=1)
        assert await store.purge() == 2500
        assert sql("SELECT id FROM sessions") == [("stays",)]
        await store.close()

    asyncio.run(main())
