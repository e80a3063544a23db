"""The store of the driver `sqlite`."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    CorruptSessionError,
    DriverLoadError,
    Finding,
    InvalidSessionIdError,
    Lifetime,
    Minutes,
    Replacement,
    Restoration,
    ScanPage,
    SessionConflictError,
    SessionInfo,
    SessionTooLargeError,
    StoredSession,
    StoreError,
    records,
    utc_now,
)
from botsession.ids import MAX_BYTES, check_session_id
from botsession_sqlite import diagnosis, failures, rows, statements
from botsession_sqlite.batches import as_parameter, batches
from botsession_sqlite.database import Database

T = TypeVar("T")

_OLDEST_SQLITE: Final = (3, 37)
_LONGEST_TIMEOUT: Final = 86_400
_PAGE: Final = 500
_LARGEST_PAGE: Final = 10_000
_PURGED_AT_ONCE: Final = 1000
_LAST: Final = "\U0010ffff" * (MAX_BYTES // 4)
"""What is appended to a prefix to get the last id that could begin with it."""


class SqliteSessionStore:
    """Keeps sessions in an SQLite file, which any number of stores and processes of one machine may share.

    Args:
        path: The file; created where it is absent, readable by its owner only. Its folder must exist.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        timeout: Seconds to wait while another connection holds the lock.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment in UTC.

    Attributes:
        path: The absolute path of the file.
        lifetime: How long the store keeps its sessions.

    Raises:
        ConfigError: An option is out of its range.
        DriverLoadError: The SQLite of this Python is older than 3.37.
    """

    def __init__(
        self,
        path: str | Path = "sessions.sqlite3",
        expires_in: Minutes | None = ONE_YEAR,
        *,
        timeout: float = 5.0,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise DriverLoadError(f"botsession-sqlite needs SQLite 3.37; this Python has {sqlite3.sqlite_version}")
        if str(path) in ("", ":memory:") or "\0" in str(path):
            raise ConfigError(
                f"path is the path of a file, not {str(path)!r}; for sessions in memory use driver memory"
            )
        if not 0 <= timeout <= _LONGEST_TIMEOUT:
            raise ConfigError(f"timeout is a number of seconds from 0 to {_LONGEST_TIMEOUT}; got {timeout!r}")
        self.path: Final = str(Path(path).absolute())
        self.lifetime: Final = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._timeout = timeout
        self._database: Database | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"SqliteSessionStore({self.path!r})"

    async def init(self) -> Self:
        async with self._opening:
            if self._database is None:
                self._database = await self._answer(Database.open(self.path, timeout=self._timeout))
        return self

    async def close(self) -> None:
        async with self._opening:
            database, self._database = self._database, None
            if database is not None:
                await self._answer(database.close())

    async def read(self, session_id: str) -> StoredSession | None:
        check_session_id(session_id)
        found = await self._read(statements.READ, id=session_id, now=self._now())
        return rows.to_session(found[0], repr(self)) if found else None

    async def write(self, session_id: str, session: StoredSession) -> None:
        await self._change(statements.WRITE, **self._stamped(session_id, session))

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        row = self._stamped(session_id, session)
        if not await self._change(statements.REPLACE, **row, expected=expected, now=self._now()):
            raise SessionConflictError(session_id)

    async def destroy(self, session_id: str) -> None:
        check_session_id(session_id)
        await self._change(statements.DESTROY, id=session_id)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        check_session_id(session_id)
        deadline = None if expires_at is None else rows.milliseconds(expires_at)
        return bool(await self._change(statements.TOUCH, id=session_id, expires_at=deadline, now=self._now()))

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions in the order of their ids, compared as UTF-8; a page holds 500 where no limit is given."""
        if after is not None:
            try:
                check_session_id(after)
            except InvalidSessionIdError as error:
                raise StoreError(f"{after!r} is no cursor of {self!r}") from error
        size = min(max(_PAGE if limit is None else limit, 1), _LARGEST_PAGE)
        found = await self._read(
            statements.SCAN, first=prefix, last=prefix + _LAST, after=after or "", now=self._now(), limit=size + 1
        )
        outcomes = (self._info(row) for row in found[:size])
        return ScanPage.of(outcomes, str(found[size - 1][0]) if len(found) > size else None)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        for session_id in session_ids:
            check_session_id(session_id)
        found = await self._read(statements.READ_MANY, ids=as_parameter(session_ids), now=self._now())
        by_id = {row[0]: row for row in found}
        return [self._outcome(by_id.get(session_id)) for session_id in session_ids]

    async def replace_many(self, replacements: Sequence[Replacement]) -> list[SessionConflictError | StoreError | None]:
        """Replaces many sessions in one transaction, or one for each 32 million characters or id that comes again."""
        entries = [
            {**self._stamped(entry.session.id, entry.session), "expected": entry.expected} for entry in replacements
        ]
        return await self._replace_rows(entries)

    async def restore_many(self, restorations: Sequence[Restoration]) -> list[SessionConflictError | StoreError | None]:
        self._opened()
        for restoration in restorations:
            records.check_restored(restoration.session)
        return await self._replace_rows(
            [{**rows.from_session(entry.session), **rows.condition(entry.over)} for entry in restorations]
        )

    async def destroy_many(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            check_session_id(session_id)
        await self._change(statements.DESTROY_MANY, ids=as_parameter(session_ids))

    async def purge(self) -> int:
        """Removes all expired sessions, a thousand in a transaction, so that others get their turn in between."""
        now = self._now()
        removed = 0
        while True:
            done = await self._change(statements.PURGE, now=now, limit=_PURGED_AT_ONCE)
            removed += len(done)
            if len(done) < _PURGED_AT_ONCE:
                return removed

    async def ping(self) -> None:
        await self._read(statements.PING)

    async def _replace_rows(self, entries: Sequence[rows.Row]) -> list[SessionConflictError | StoreError | None]:
        outcomes: list[SessionConflictError | StoreError | None] = []
        for batch in batches(entries):
            chosen = entries[batch.start : batch.stop]
            try:
                done = await self._change(statements.REPLACE_MANY, entries=as_parameter(chosen), now=self._now())
            except SessionTooLargeError as error:
                if len(chosen) > 1:
                    raise
                outcomes.append(error)
                continue
            stored = {session_id for (session_id,) in done}
            outcomes += [None if entry["id"] in stored else SessionConflictError(entry["id"]) for entry in chosen]
        return outcomes

    async def diagnose(self) -> list[Finding]:
        [(damage,)] = await self._read(statements.CHECK)
        [(expired,)] = await self._read(statements.COUNT_EXPIRED, now=self._now())
        looking = asyncio.to_thread(diagnosis.diagnose, self.path, damage=str(damage), expired=expired)
        return await self._answer(looking)

    def _stamped(self, session_id: str, session: StoredSession) -> rows.Row:
        records.check_pair(session_id, session)
        self._opened()
        self.lifetime.stamp(session)
        return rows.from_session(session)

    def _outcome(self, row: Sequence[Any] | None) -> StoredSession | StoreError | None:
        try:
            return None if row is None else rows.to_session(row, repr(self))
        except CorruptSessionError as error:
            return error

    def _info(self, row: Sequence[Any]) -> SessionInfo | CorruptSessionError:
        *columns, size = row
        try:
            return rows.to_info(columns, repr(self), size=size)
        except CorruptSessionError as error:
            return error

    def _now(self) -> int:
        return rows.milliseconds(self.lifetime.now())

    def _opened(self) -> Database:
        if self._database is None:
            raise StoreError(f"{self!r} is not open; call `await store.init()` first")
        return self._database

    async def _read(self, statement: str, **parameters: object) -> list[Any]:
        return await self._answer(self._opened().read(statement, parameters))

    async def _change(self, statement: str, **parameters: object) -> list[Any]:
        return await self._answer(self._opened().change(statement, parameters))

    async def _answer(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise failures.translated(error, repr(self)) from error
