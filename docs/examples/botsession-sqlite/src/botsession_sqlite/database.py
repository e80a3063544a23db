"""The open file: one connection that writes and one that reads, each in a thread of its own."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import aiosqlite

from botsession import StoreError, StoreUnavailableError
from botsession_sqlite import failures, statements

_creating: Final = threading.Lock()
_RETRY_AFTER: Final = 0.05


class Database:
    """An open file of sessions.

    Reads do not wait for writes: in WAL mode a reader sees the last commit while the writer works on the next one.

    Args:
        writer: Runs what changes something, in the order in which it comes.
        reader: Runs everything else.
    """

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
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
            writer = await opened.enter_async_context(_connection(path, timeout))
            await _prepare(writer, path, timeout)
            reader = await opened.enter_async_context(_connection(path, timeout))
            for connection in (writer, reader):
                connection.text_factory = _text
            await reader.execute_fetchall("PRAGMA query_only = ON")
            opened.pop_all()
        return cls(writer, reader)

    async def read(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Runs a statement that changes nothing; returns its rows."""
        return await _rows(self._reader, statement, parameters)

    async def change(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Runs a statement that changes something; returns its rows when they are safely on the disk.

        Whoever is cancelled meanwhile goes on only when the statement has ended, so that it never takes effect later,
        behind the back of the next one.
        """
        try:
            return await _rows(self._writer, statement, parameters)
        except asyncio.CancelledError:
            with contextlib.suppress(sqlite3.Error, ValueError):
                await self._writer.execute_fetchall("SELECT 'the thread works in order: all before this has ended'")
            raise

    async def close(self) -> None:
        """Ends both connections, after what they have been given to do."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()


def _text(raw: bytes) -> str:
    """Returns a text of SQLite, also one that somebody damaged, so that it can be told from a file that is."""
    return raw.decode(errors="surrogateescape")


async def _rows(connection: aiosqlite.Connection, statement: str, parameters: Mapping[str, object]) -> list[Any]:
    try:
        return list(await connection.execute_fetchall(statement, parameters))
    except UnicodeEncodeError:
        # A text that is no Unicode, such as an invented version, is equal to nothing that is stored.
        return []


def _create(path: str) -> None:
    """Creates an empty file that only its owner may read, and leaves one that is there alone.

    Closing a file drops all locks that the process has on it, so nobody may open it in between.
    """
    with _creating, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connection(path: str, timeout: float) -> aiosqlite.Connection:
    """Returns a connection without implicit transactions, whose thread does not keep a process from ending."""
    connection = aiosqlite.connect(path, timeout=timeout, isolation_level=None)
    thread: Any = getattr(connection, "_thread", connection)
    thread.daemon = True
    return connection


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
    new = _is_new(await connection.execute_fetchall(statements.IDENTITY), path)
    ((mode,),) = await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreUnavailableError(f"{path!r} cannot be written in WAL mode: is it writable, and on a local disk?")
    await connection.executescript("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;")
    await connection.executescript(statements.CREATE if new else statements.PROBE)


def _is_new(identity: Iterable[Any], path: str) -> bool:
    ((application, schema, objects),) = identity
    if (application, schema, objects) == (0, 0, 0):
        return True
    if application != statements.APPLICATION_ID:
        raise StoreError(f"{path!r} is the database of another program; give the sessions a file of their own")
    if schema > statements.SCHEMA:
        raise StoreError(
            f"{path!r} has the schema {schema} of a later version of botsession-sqlite; this one knows "
            f"{statements.SCHEMA}: upgrade it with pip install --upgrade botsession-sqlite"
        )
    return False
