"""Faults of the file, and the errors that the store raises for them."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botsession_sqlite import SqliteSessionStore

from botsession import (
    CorruptSessionError,
    Session,
    SessionTooLargeError,
    Step,
    StoreError,
    StoreUnavailableError,
)

Sql = Callable[..., list[Any]]
Change = Callable[[SqliteSessionStore, str], Awaitable[list[Any]]]


@contextlib.asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[SqliteSessionStore]:
    store = await SqliteSessionStore(path, **options).init()
    try:
        yield store
    finally:
        await store.close()


def refusal(path: Path, error: type[StoreError] = StoreUnavailableError) -> StoreError:
    """Return the error with which a store refuses to open."""

    async def main() -> StoreError:
        with pytest.raises(error) as caught:
            await SqliteSessionStore(path).init()
        assert type(caught.value) is error
        return caught.value

    return asyncio.run(main())


def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)
    error = refusal(path)
    assert "Restore it" in error.remedy
    assert isinstance(error.__cause__, sqlite3.DatabaseError)
    assert path.read_bytes() == b"no database " * 1000


def test_a_database_of_another_program_is_left_as_it_is(path: Path, sql: Sql) -> None:
    sql("CREATE TABLE mine (a)")
    before = path.read_bytes()
    assert "another program" in str(refusal(path, StoreError))
    assert path.read_bytes() == before


def test_a_later_schema_is_refused(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path):
            pass

    asyncio.run(main())
    sql("PRAGMA user_version = 2")
    assert "pip install --upgrade botsession-sqlite" in str(refusal(path, StoreError))


def test_a_folder_is_no_file(path: Path) -> None:
    path.mkdir()
    assert "must name a file" in str(refusal(path))


def test_a_refusal_leaves_no_thread_behind(path: Path) -> None:
    path.mkdir()

    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}

    async def main() -> None:
        before = threads()
        for _ in range(20):
            with pytest.raises(StoreUnavailableError):
                await SqliteSessionStore(path).init()
            assert threads() == before

    asyncio.run(main())


def test_the_folder_must_exist(path: Path) -> None:
    assert isinstance(refusal(path / "deeper").__cause__, FileNotFoundError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a"))

    asyncio.run(main())
    path.chmod(0o400)
    assert "writable" in str(refusal(path))
    path.chmod(0o600)
    path.parent.chmod(0o500)
    try:
        refusal(path)
    finally:
        path.parent.chmod(0o700)


def test_a_lock_that_is_held_too_long_is_unavailable(path: Path) -> None:
    async def main() -> None:
        async with opened(path, timeout=0.1) as store:
            await store.write("a", Session("a", {"n": 1}))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailableError, match="raise `timeout`"):
                    await store.write("a", Session("a", {"n": 2}))
                with pytest.raises(StoreUnavailableError, match="lock"):
                    await SqliteSessionStore(path, timeout=0.1).init()
            await store.write("a", Session("a", {"n": 3}))

    asyncio.run(main())


def test_a_full_disk_leaves_what_is_stored(path: Path, change: Change) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a", {"n": 1}))
            await change(store, "PRAGMA max_page_count = 10")
            with pytest.raises(StoreUnavailableError, match="no room"):
                await store.write("a", Session("a", {"n": "x" * 100_000}))
            with pytest.raises(StoreUnavailableError, match="no room"):
                entries = [Step.replace(Session("b"), None), Step.replace(Session("c", {"n": "x" * 100_000}), None)]
                await store.commit(entries)
            found = await store.read_many(["a", "b"])
            assert isinstance(found[0], Session)
            assert found[0].state == {"n": 1}
            assert found[1] is None

    asyncio.run(main())


def test_a_session_that_sqlite_does_not_take_is_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def limited(*args: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*args, **options)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
        return db

    monkeypatch.setattr(sqlite3, "connect", limited)

    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a", {"n": 1}))
            large = Session("a", {"n": "x" * 20_000})
            with pytest.raises(SessionTooLargeError):
                await store.write("a", large)
            outcomes = await store.commit([Step.replace(large), Step.replace(Session("b"), None)])
            assert [type(outcome) for outcome in outcomes] == [SessionTooLargeError, type(None)]
            found = await store.read("a")
            assert found is not None
            assert found.state == {"n": 1}

    asyncio.run(main())


@pytest.mark.parametrize(
    "damage",
    [
        "record = ''",
        "record = CAST(x'ff7b' AS TEXT)",
        "record = '[]'",
        "record = json_set(record, '$.version', '')",
        "record = json_set(record, '$.created_at', 'yesterday')",
        "record = json_set(record, '$.expires_at', 9223372036854775807)",
        "record = json_set(record, '$.last_activity', '-4713-11-24T00:00:00.000Z')",
        "id = 'b'",
    ],
)
def test_a_damaged_row_is_corrupt(path: Path, sql: Sql, damage: str) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a"))
            sql(f"UPDATE sessions SET {damage}")
            session_id = "b" if damage.startswith("id") else "a"
            with pytest.raises(CorruptSessionError) as caught:
                await store.read(session_id)
            assert caught.value.session_id == session_id
            assert isinstance((await store.read_many([session_id]))[0], CorruptSessionError)

    asyncio.run(main())


@pytest.mark.parametrize("damage", ["id = CAST(x'61ff' AS TEXT)", "id = 'a' || char(10)", "record = '{}'"])
def test_a_damaged_key_is_not_silently_missing_from_a_scan(path: Path, sql: Sql, damage: str) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a"))
            sql(f"UPDATE sessions SET {damage}")
            page = await store.scan()
            assert page.sessions == []
            [error] = page.unreadable
            assert error.raw
            assert str(error).encode()

    asyncio.run(main())


def test_a_column_takes_no_wrong_type(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.write("a", Session("a"))
            with pytest.raises(sqlite3.IntegrityError):
                sql("UPDATE sessions SET record = x'7b7d'")

    asyncio.run(main())


def test_a_damaged_page_is_unavailable(path: Path) -> None:
    async def fill() -> None:
        async with opened(path) as store:
            await store.commit([Step.replace(Session(f"a:{n}", {"x": "y" * 500}), None) for n in range(200)])

    async def read() -> None:
        async with opened(path) as store:
            with pytest.raises(StoreUnavailableError, match="damaged"):
                await store.read("a:7")

    asyncio.run(fill())
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    asyncio.run(read())
