"""The database from `init` to `close`, and its failures as the errors of botsession."""

import asyncio
import sqlite3
from collections.abc import Awaitable
from typing import Any, TypeVar

from botsession import StoreError
from botsession.storage.binding import LoopBinding
from botsession_sqlite import failures
from botsession_sqlite.database import Database
from botsession_sqlite.writer import Work

T = TypeVar("T")


class Link:
    """Opens and closes the database of one store, and asks it.

    Args:
        path: The absolute path of the file.
        timeout: How many seconds to wait for a lock.
        store: A description of the store, for errors.
    """

    def __init__(self, path: str, timeout: float, store: str) -> None:
        self._path = path
        self._timeout = timeout
        self._store = store
        self._database: Database | None = None
        self._opening = asyncio.Lock()
        self._binding = LoopBinding("the sqlite store")

    def opened(self) -> Database:
        """Returns the open database.

        Raises:
            StoreError: It is not open here.
        """
        if self._database is None:
            raise StoreError(f"{self._store} is not open; call `await store.init()` first")
        if self._binding.is_inherited:
            self._binding.check()
        self._enter()
        return self._database

    async def open(self) -> None:
        """Opens the database unless it is open."""
        self._enter()
        async with self._opening:
            if self._database is None:
                self._binding.opened = self._database = await self.answer(
                    Database.open(self._path, timeout=self._timeout)
                )

    async def close(self) -> None:
        """Closes the database where it is open, and not the parent process's."""
        if self._database is None or self._binding.is_inherited:
            return
        self._enter()
        async with self._opening:
            database, self._database = self._database, None
            if database is not None:
                await self.answer(database.close())
                self._binding.leave()

    def _enter(self) -> None:
        """Comes to the running event loop, and to this process, into which SQLite takes no connection of its parent."""
        if not self._binding.enter():
            return
        self._opening = asyncio.Lock()
        if self._binding.was_inherited:
            self._database = None
        elif self._database is not None:
            self._database.enter_loop()

    async def read(self, statement: str, **parameters: object) -> list[Any]:
        """See `Database.read`."""
        return await self.answer(self.opened().read(statement, parameters))

    async def change(self, statement: str, **parameters: object) -> list[Any]:
        """See `Database.change`."""
        return await self.answer(self.opened().change(statement, parameters))

    async def transact(self, work: Work[T], *, durable: bool) -> T:
        """See `Database.transact`."""
        return await self.answer(self.opened().transact(work, durable=durable))

    async def answer(self, asked: Awaitable[T]) -> T:
        """Returns the answer.

        Raises:
            StoreError: What an error of SQLite or of the file system means.
        """
        try:
            return await asked
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise failures.translated(error, self._store) from error
