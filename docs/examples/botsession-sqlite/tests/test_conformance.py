"""The conformance suite of botsession, run on the SQLite store."""

import ast
import contextlib
import sqlite3
from pathlib import Path

import pytest
from botsession_sqlite import SqliteSessionStore

from botsession import SessionStore
from botsession.testing import StoreContract


class TestSqlite(StoreContract):
    store_type = SqliteSessionStore
    shared = True

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def options(self, namespace: str) -> dict[str, str]:
        return {"path": str(self.folder / f"{namespace}.sqlite3")}

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        assert isinstance(store, SqliteSessionStore)
        with contextlib.closing(sqlite3.connect(store.path)) as db, db:
            db.execute("UPDATE sessions SET record = substr(record, 1, 40) WHERE id = ?", (session_id,))

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        assert isinstance(store, SqliteSessionStore)
        name = ast.literal_eval(where.removeprefix("row ").partition(" of the table quarantine ")[0])
        with contextlib.closing(sqlite3.connect(store.path)) as db:
            [(raw,)] = db.execute("SELECT CAST(record AS BLOB) FROM quarantine WHERE name = ?", (name,))
        return bytes(raw)

    async def footprint(self, store: SessionStore) -> list[tuple[object, ...]]:
        assert isinstance(store, SqliteSessionStore)
        with contextlib.closing(sqlite3.connect(store.path)) as db:
            return [
                row for table in ("sessions", "leases", "quarantine") for row in db.execute(f"SELECT * FROM {table}")
            ]

    def unreachable(self, secret: str) -> dict[str, str]:
        return {"path": str(self.folder / "absent" / "sessions.sqlite3")}
