"""One connection to SQLite, in a thread of its own."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Connection:
    """Runs jobs one after the other, each in one trip to the thread; the first one connects.

    There are no implicit transactions: a statement is a transaction of its own, unless a job begins one.

    Args:
        path: The absolute path of the file.
        timeout: How many seconds to wait for a lock.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(1, "botsession-sqlite")
        self._sqlite: sqlite3.Connection | None = None

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a job returns."""
        return await self._begun(lambda: job(self._connected()))

    async def complete(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a job returns.

        Whoever is cancelled meanwhile goes on only when the job has ended, so that it never takes effect later, behind
        the back of the next one.
        """
        return await _ended(self._begun(lambda: job(self._connected())))

    async def close(self) -> None:
        """Ends the connection after the jobs that it has been given."""
        try:
            await _ended(self._begun(self._disconnect))
        finally:
            self._thread.shutdown(wait=False)

    def _begun(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _connected(self) -> sqlite3.Connection:
        if self._sqlite is None:
            self._sqlite = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
            self._sqlite.text_factory = _text
        return self._sqlite

    def _disconnect(self) -> None:
        if self._sqlite is not None:
            self._sqlite.close()


def fetch(db: sqlite3.Connection, statement: str, parameters: Mapping[str, object]) -> list[Any]:
    """Runs a statement to its end; returns its rows."""
    try:
        return db.execute(statement, parameters).fetchall()
    except UnicodeEncodeError:
        # A text that is no Unicode, such as an invented version, is equal to nothing that is stored.
        return []


async def _ended(job: "asyncio.Future[T]") -> T:
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise


def _text(raw: bytes) -> str:
    """Returns a text of SQLite, also one that somebody damaged, so that it can be told from a file that is."""
    return raw.decode(errors="surrogateescape")
