"""The connection that writes: one transaction after the other, each to its end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiosqlite

from botsession_sqlite.connection import disconnect, fetch, finished

T = TypeVar("T")

Work = Callable[[aiosqlite.Connection], Awaitable[T]]
"""What runs statements on a connection."""


class Writer:
    """Runs what changes something, in the order in which it comes.

    Who waits for its turn may be cancelled at once; who has it is cancelled when its transaction has ended.

    Args:
        connection: Has no implicit transactions, and belongs to the writer.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    def enter_loop(self) -> None:
        """Begins in another event loop: nobody of the one before comes back."""
        self._turn = asyncio.Lock()

    async def change(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Runs a statement as a transaction of its own; returns its rows."""
        async with self._turn:
            return await finished(_ended(self._connection, lambda db: fetch(db, statement, parameters)))

    async def transact(self, work: Work[T], *, durable: bool) -> T:
        """Runs several statements as one transaction.

        Args:
            work: What runs them, one after the other.
            durable: Whether to wait until they are safely on the disk; otherwise a machine that crashes may lose them.
        """
        async with self._turn:
            return await finished((_transaction if durable else _unsynced)(self._connection, work))

    async def close(self) -> None:
        """Ends the connection, after what came before."""
        async with self._turn:
            await disconnect(self._connection)


async def _transaction(db: aiosqlite.Connection, work: Work[T]) -> T:
    async def whole(db: aiosqlite.Connection) -> T:
        await fetch(db, "BEGIN IMMEDIATE", {})
        result = await work(db)
        await db.commit()
        return result

    return await _ended(db, whole)


async def _unsynced(db: aiosqlite.Connection, work: Work[T]) -> T:
    try:
        await fetch(db, "PRAGMA synchronous = NORMAL", {})
        return await _transaction(db, work)
    finally:
        await fetch(db, "PRAGMA synchronous = FULL", {})


async def _ended(db: aiosqlite.Connection, work: Work[T]) -> T:
    """Runs some work; where it fails, or the event loop ends, no statement goes on and no transaction stays open.

    aiosqlite works in order, so what was begun has ended when the rollback has, which does nothing outside a transaction.
    """
    try:
        return await work(db)
    except BaseException:
        await db.rollback()
        raise
