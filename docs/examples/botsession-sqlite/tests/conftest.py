"""Fixtures that the tests share."""

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botsession_sqlite import SqliteSessionStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


@pytest.fixture
def sql(path: Path) -> Callable[..., list[Any]]:
    """Run a statement on the file through a separate connection."""

    def run(statement: str, parameters: Any = ()) -> list[Any]:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            return db.execute(statement, parameters).fetchall()

    return run


@pytest.fixture
def locked(path: Path) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Hold SQLite's write lock, so that a transaction of the store has to wait."""

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("ROLLBACK")

    return lock


@pytest.fixture
def change() -> Callable[[SqliteSessionStore, str], Awaitable[list[Any]]]:
    """Run a writing statement on the store's own connection, in a separate transaction."""

    async def run(store: SqliteSessionStore, statement: str) -> list[Any]:
        return await store._database.get().change(lambda db: db.execute(statement).fetchall())

    return run
