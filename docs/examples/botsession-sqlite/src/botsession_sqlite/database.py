"""The open file: one connection that writes and one that reads, each in a thread of its own."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, TypeVar

import aiosqlite

from botsession import StoreError, StoreUnavailableError
from botsession_sqlite import failures, schema
from botsession_sqlite.connection import connect, disconnect, fetch
from botsession_sqlite.writer import Work, Writer

T = TypeVar("T")

_creating: Final = threading.Lock()
_RETRY_AFTER: Final = 0.05


class Database:
    """An open file of sessions.

    Reads do not wait for writes: in WAL mode a reader sees the last commit while the writer works on the next one.

    Args:
        writer: Runs what changes something, in the order in which it comes.
        reader: Runs everything else.
    """

    def __init__(self, writer: Writer, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: str, *, timeout: float) -> Self:  # noqa: ASYNC109 - it is that of SQLite's locks
        """Opens the file, and creates it with its table where it is absent.

        Args:
            path: The absolute path.
            timeout: How many seconds to wait for a lock.

        Raises:
            sqlite3.Error: SQLite cannot open or write the file.
            OSError: The file cannot be created.
            StoreError: The file belongs to another program, or to a later version of this one.
        """
        await asyncio.to_thread(_create, path)
        async with contextlib.AsyncExitStack() as opened:
            connection = await connect(path, timeout)
            writer = Writer(connection)
            opened.push_async_callback(writer.close)
            await _prepare(connection, path, timeout)
            reader = await connect(path, timeout)
            opened.push_async_callback(disconnect, reader)
            await fetch(reader, "PRAGMA query_only = ON", {})
            opened.pop_all()
        return cls(writer, reader)

    def enter_loop(self) -> None:
        """Begins in another event loop."""
        self._writer.enter_loop()

    async def read(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Runs a statement that changes nothing; returns its rows."""
        return await fetch(self._reader, statement, parameters)

    async def change(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Runs a statement that changes something; returns its rows when they are safely on the disk."""
        return await self._writer.change(statement, parameters)

    async def transact(self, work: Work[T], *, durable: bool) -> T:
        """Runs several statements under the write lock: all of them take effect, or none. See `Writer.transact`."""
        return await self._writer.transact(work, durable=durable)

    async def close(self) -> None:
        """Ends both connections, after what they have been given to do."""
        try:
            await disconnect(self._reader)
        finally:
            await self._writer.close()


def _create(path: str) -> None:
    """Creates an empty file that only its owner may read, and leaves one that is there alone.

    Closing a file drops all locks that the process has on it, so nobody may open it in between.
    """
    with _creating, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


async def _prepare(connection: aiosqlite.Connection, path: str, patience: float) -> None:
    """Sets the connection up, again while several do so at once: SQLite does not wait by itself when it goes to WAL."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        try:
            await _prepare_once(connection, path)
        except sqlite3.Error as error:
            if not failures.is_busy(error) or loop.time() >= until:
                raise
            await asyncio.sleep(_RETRY_AFTER)
        else:
            return


async def _prepare_once(connection: aiosqlite.Connection, path: str) -> None:
    new = _is_new(await connection.execute_fetchall(schema.IDENTITY), path)
    ((mode,),) = await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreUnavailableError(f"{path!r} cannot be written in WAL mode: is it writable, and on a local disk?")
    await connection.executescript("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;")
    await connection.executescript(schema.CREATE if new else schema.PROBE)
    await connection.executescript(schema.BESIDE)


def _is_new(identity: Iterable[Any], path: str) -> bool:
    ((application, number, objects),) = identity
    if (application, number, objects) == (0, 0, 0):
        return True
    if application != schema.APPLICATION_ID:
        raise StoreError(f"{path!r} is the database of another program; give the sessions a file of their own")
    if number > schema.SCHEMA:
        raise StoreError(
            f"{path!r} has the schema {number} of a later version of botsession-sqlite; this one knows "
            f"{schema.SCHEMA}: upgrade it with pip install --upgrade botsession-sqlite"
        )
    return False
