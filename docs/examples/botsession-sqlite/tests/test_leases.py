"""Leases and the quarantine: the contents of their tables, and when rows are removed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botsession_sqlite import SqliteSessionStore

from botsession import (
    Claim,
    CorruptSessionError,
    Held,
    Session,
    SessionConflictError,
    Step,
)

Sql = Callable[..., list[Any]]
Change = Callable[[SqliteSessionStore, str], Awaitable[list[Any]]]

LONG = 600.0


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteSessionStore]:
    store = await SqliteSessionStore(path).init()
    try:
        yield store
    finally:
        await store.close()


def claim(holder: str, session_id: str = "a", ttl: float = LONG) -> Claim:
    return Claim(session_id, holder, ttl, LONG)


def test_a_file_of_before_leases_goes_on_working(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a", {"n": 1}))
        sql("DROP TABLE leases")
        sql("DROP TABLE quarantine")
        async with opened(path) as store:
            [found] = await store.lease_many([claim("x")])
            assert isinstance(found, Session)
            assert found.state == {"n": 1}
            sql("UPDATE sessions SET record = ''")
            assert await store.quarantine("a") is not None
        assert sql("PRAGMA user_version") == [(1,)]

    asyncio.run(main())


def test_opening_again_writes_nothing(path: Path) -> None:
    async def main() -> None:
        async with opened(path):
            pass

    asyncio.run(main())
    before = path.read_bytes()
    asyncio.run(main())
    assert path.read_bytes() == before


def test_a_lease_is_gone_with_the_turn(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            assert await store.lease_many([claim("x"), claim("x", "b")]) == [None, None]
            assert len(sql("SELECT id FROM leases")) == 2
            assert await store.commit([Step.replace(Session("a"), None, "x")]) == [None]
            assert sql("SELECT id FROM leases") == [("b",)]
            await store.release_leases({"b": "x"})
            assert sql("SELECT id FROM leases") == []

    asyncio.run(main())


def test_one_of_a_batch_is_refused_where_its_holder_has_not_the_lease(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x"), claim("y", "b"), claim("x", "c")])
            entries = [Step.replace(Session(each), None, "x") for each in ("a", "b", "c")]
            outcomes = await store.commit([*entries, Step.replace(Session("d"), None)])
            assert [isinstance(outcome, SessionConflictError) for outcome in outcomes] == [False, True, False, False]
            assert sql("SELECT id FROM leases") == [("b",)]
            assert sql("SELECT id FROM sessions ORDER BY id") == [("a",), ("c",), ("d",)]

    asyncio.run(main())


def test_a_lease_that_could_not_be_given_up_stays(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x")])
            [outcome] = await store.commit([Step.replace(Session("a"), "another version", "x")])
            assert isinstance(outcome, SessionConflictError)
            assert await store.renew_leases({"a": "x"}, LONG) == [True]

    asyncio.run(main())


def test_purge_removes_leases_that_are_over(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x"), claim("x", "over", ttl=0.0), claim("x", "awaited", ttl=0.05)])
            await store.lease_many([claim("y", "awaited")])
            await asyncio.sleep(0.1)
            assert await store.purge() == 0
            assert sql("SELECT id FROM leases ORDER BY id") == [("a",), ("awaited",)]

    asyncio.run(main())


def test_a_lease_of_before_the_machine_was_started_is_over(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x"), claim("x", "b")])
            assert isinstance((await store.lease_many([claim("y")]))[0], Held)
            sql("UPDATE leases SET changed_at = ?", (time.monotonic() + 1_000_000,))
            assert await store.renew_leases({"a": "x"}, LONG) == [False]
            assert await store.lease_many([claim("y")]) == [None]
            assert await store.renew_leases({"a": "y"}, LONG) == [True]
            await store.purge()
            assert sql("SELECT id FROM leases") == [("a",)]

    asyncio.run(main())


@pytest.mark.parametrize("damage", ["''", "'[]'", "CAST(x'ff7b' AS TEXT)"])
def test_a_lease_that_cannot_be_read_is_none(path: Path, sql: Sql, damage: str) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x")])
            sql(f"UPDATE leases SET lease = {damage}")
            assert await store.lease_many([claim("y")]) == [None]
            assert await store.renew_leases({"a": "y"}, LONG) == [True]

    asyncio.run(main())


def test_a_claim_that_is_refused_by_the_disk_changes_nothing(path: Path, sql: Sql, change: Change) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.lease_many([claim("x")])
            sql("CREATE TRIGGER full BEFORE INSERT ON leases WHEN new.id = 'c' BEGIN SELECT RAISE(ABORT, 'no'); END")
            with pytest.raises(Exception, match="no"):
                await store.lease_many([claim("x", "b"), claim("x", "c")])
            assert sql("SELECT id FROM leases") == [("a",)]
            settings = "SELECT synchronous FROM pragma_synchronous"
            assert await change(store, settings) == [(2,)]
            await store.write("b", Session("b"))

    asyncio.run(main())


def test_the_quarantine_keeps_the_whole_record(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            for damage in ("record = CAST(x'ff7b' AS TEXT)", "record = '{}'"):
                await store.write("a", Session("a"))
                sql(f"UPDATE sessions SET {damage}")
                before = sql("SELECT CAST(record AS BLOB) FROM sessions")
                with pytest.raises(CorruptSessionError):
                    await store.read("a")
                where = await store.quarantine("a")
                assert where is not None
                assert str(path) in where
                assert sql("SELECT CAST(record AS BLOB) FROM quarantine ORDER BY rowid DESC LIMIT 1") == before
                assert sql("SELECT id FROM sessions") == []
            warned = [finding for finding in await store.diagnose() if finding.level == "warning"]
            assert [finding.message for finding in warned if finding.topic == "quarantine"] == [
                "2 unreadable sessions are in the table quarantine"
            ]

    asyncio.run(main())


def test_a_name_in_the_quarantine_is_not_given_twice(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            places = set()
            for _ in range(2):
                await store.write("a", Session("a"))
                sql("UPDATE sessions SET record = ''")
                places.add(await store.quarantine("a"))
                sql("DELETE FROM quarantine")
            assert len(places) == 2

    asyncio.run(main())
