"""The open file: one connection that writes and one that reads, each in a thread of its own."""

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self, TypeVar

from botsession.storage.threads import WorkerThread
from botsession_sqlite.errors import unavailable
from botsession_sqlite.schema import connect

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
"""A function that runs statements on a connection."""


class Database:
    """An open file of sessions. In WAL mode, reads see the last commit and do not wait for writes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: WorkerThread[sqlite3.Connection] = WorkerThread("botsession-sqlite-write")
        self._reader: WorkerThread[sqlite3.Connection] = WorkerThread("botsession-sqlite-read")

    @classmethod
    async def open(cls, path: str, timeout: float) -> Self:  # noqa: ASYNC109 - it is that of SQLite's locks
        """Open the file, and create it if it is missing; see `schema.connect`."""
        database = cls(path)
        await database._answer(database._writer.start(partial(connect, path, timeout, read_only=False)))
        try:
            await database._answer(database._reader.start(partial(connect, path, timeout, read_only=True)))
        except BaseException:
            await database._writer.stop()
            raise
        return database

    async def read(self, work: Work[T]) -> T:
        """Do some work that changes nothing."""
        return await self._answer(self._reader.run(work))

    async def change(self, work: Work[T], *, durable: bool = True) -> T:
        """Do some work in one transaction: all of it takes effect, or nothing.

        Args:
            work: Runs the statements.
            durable: Whether to wait until the disk has it; otherwise it may be lost when the machine crashes.
        """
        return await self._answer(self._writer.run(partial(_transact, work, durable)))

    async def close(self) -> None:
        """Close both connections when their work is done."""
        try:
            await self._answer(self._reader.stop())
        finally:
            await self._answer(self._writer.stop())

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except (sqlite3.Error, OSError) as error:
            raise unavailable(error, self._path) from error


def _transact(work: Work[T], durable: bool, db: sqlite3.Connection) -> T:
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result
