"""One connection of aiosqlite: opened, asked and closed."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


async def connect(path: str, timeout: float) -> aiosqlite.Connection:  # noqa: ASYNC109 - it is that of SQLite's locks
    """Returns a connection without implicit transactions: a statement is one of its own, unless one has been begun.

    Args:
        path: The absolute path of the file.
        timeout: How many seconds to wait for a lock.
    """
    workers: list[threading.Thread] = []

    def opened() -> sqlite3.Connection:
        workers.append(threading.current_thread())
        return sqlite3.connect(path, timeout=timeout, isolation_level=None)

    connection = _unstarted(opened)
    try:
        await finished(connection)
    except BaseException:
        with contextlib.suppress(ValueError):  # it did not come to be
            await disconnect(connection)
        # aiosqlite does not wait for the last word of its thread, which must not come when the event loop is closed.
        for worker in workers:
            worker.join()
        raise
    connection.text_factory = _text
    return connection


async def fetch(db: aiosqlite.Connection, statement: str, parameters: Mapping[str, object]) -> list[Any]:
    """Runs a statement to its end; returns its rows."""
    try:
        return list(await db.execute_fetchall(statement, parameters))
    except UnicodeEncodeError:
        # A text that is no Unicode, such as an invented version, is equal to nothing that is stored.
        return []


async def disconnect(connection: aiosqlite.Connection) -> None:
    """Ends a connection after what it has been given to do."""
    await finished(connection.close())


async def finished(work: Awaitable[T]) -> T:
    """Returns what some work returns.

    Whoever is cancelled meanwhile goes on only when the work has ended, so that it never takes effect later, behind the
    back of the next one.
    """
    job = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        raise


def _unstarted(connector: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    """Returns a connection whose thread does not keep a process from ending: it inherits that from who makes it."""
    made: list[aiosqlite.Connection] = []

    def make() -> None:
        made.append(aiosqlite.Connection(connector, iter_chunk_size=64))

    maker = threading.Thread(target=make, name="botsession-sqlite", daemon=True)
    maker.start()
    maker.join()
    return made[0]


def _text(raw: bytes) -> str:
    """Returns a text of SQLite, also one that somebody damaged, so that it can be told from a file that is."""
    return raw.decode(errors="surrogateescape")
