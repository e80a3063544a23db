"""The store of the driver `sqlite`."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from botsession import (
    ONE_YEAR,
    Claim,
    Clock,
    ConfigError,
    DriverLoadError,
    Finding,
    Held,
    Lifetime,
    Minutes,
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    utc_now,
)
from botsession.storage import Change, Entry, LeasingRecordStore, records
from botsession.storage.leases import LeaseTable
from botsession.storage.resource import Resource
from botsession_sqlite.connection import Database
from botsession_sqlite.diagnosis import diagnose
from botsession_sqlite.errors import is_too_large
from botsession_sqlite.leases import leases_of, purge_leases

_OLDEST_SQLITE: Final = (3, 37)
_LONGEST_TIMEOUT: Final = 86_400
_PAGE: Final = 500
_LARGEST_PAGE: Final = 10_000
_PURGED_AT_ONCE: Final = 1000

FIND: Final = "SELECT CAST(record AS BLOB) FROM sessions WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)"
PUT: Final = """
INSERT INTO sessions (id, record, expires_at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record, expires_at = excluded.expires_at
"""
SCAN: Final = f"""
SELECT id, substr(CAST(record AS BLOB), 1, {records.HEAD_SIZE}), length(CAST(record AS BLOB)) FROM sessions
WHERE id >= CAST(? AS TEXT) AND id > CAST(? AS TEXT) ORDER BY id LIMIT ?
"""  # noqa: S608 - it is made of constants
QUARANTINE: Final = """
INSERT INTO quarantine (name, record)
SELECT ?, record FROM sessions WHERE id = ? AND CAST(record AS BLOB) = ? RETURNING name
"""
PURGE: Final = """
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE expires_at <= ? AND json_valid(CAST(record AS TEXT)) ORDER BY expires_at LIMIT ?
) RETURNING 1
"""
"""Removes what has expired; what is unreadable stays for repair."""


class SqliteSessionStore(LeasingRecordStore):
    """Keeps sessions in an SQLite file, which any number of stores and processes of one machine may share.

    Args:
        path: The file; created if it is missing, readable by its owner only. Its folder must exist.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        timeout: Seconds to wait while another connection holds the lock.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the present moment, with a time zone.

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
                f"path is not the path of a file: {str(path)!r}",
                remedy="For sessions in memory, use the driver memory.",
            )
        if not 0 <= timeout <= _LONGEST_TIMEOUT:
            raise ConfigError(f"timeout is a number of seconds from 0 to {_LONGEST_TIMEOUT}; got {timeout!r}")
        self.path: Final = str(Path(path).absolute())
        lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        super().__init__(f"SqliteSessionStore({self.path!r})", lifetime)
        opening = partial(Database.open, self.path, timeout)
        self._database = Resource("the sqlite store", opening, Database.close, is_portable=True)

    async def init(self) -> Self:
        await self._database.open()
        return self

    async def close(self) -> None:
        await self._database.close()

    async def ping(self) -> None:
        await self._database.get().read(lambda db: db.execute("SELECT 1 FROM sessions LIMIT 1").fetchall())

    async def purge(self) -> int:
        await self._database.get().change(purge_leases, durable=False)
        now, total, removed = self._now(), 0, _PURGED_AT_ONCE
        while removed == _PURGED_AT_ONCE:
            removed = await self._database.get().change(
                lambda db: len(db.execute(PURGE, (now, _PURGED_AT_ONCE)).fetchall())
            )
            total += removed
        return total

    async def diagnose(self) -> list[Finding]:
        return await self._database.get().read(partial(diagnose, path=self.path, now=self._now()))

    def _check_open(self) -> None:
        self._database.get()

    async def _load(self, session_ids: Sequence[str]) -> list[bytes | None]:
        now = self._now()
        return await self._database.get().read(lambda db: [_find(db, session_id, now) for session_id in session_ids])

    async def _apply(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        return await self._database.get().change(partial(_apply, changes=changes, now=self._now()))

    async def _page(self, prefix: str, after: str | None, limit: int | None) -> tuple[list[Entry], str | None]:
        size = min(limit or _PAGE, _LARGEST_PAGE)
        try:
            bounds = [text.encode(errors="surrogateescape") for text in (prefix, after or "")]
        except UnicodeEncodeError:  # no id begins with such a text
            return [], None
        rows = await self._database.get().read(lambda db: db.execute(SCAN, (*bounds, size)).fetchall())
        more = len(rows) == size and rows[-1][0].startswith(prefix)
        return [Entry(*row) for row in rows], rows[-1][0] if more else None

    async def _set_aside(self, session_id: str, record: bytes, suffix: str) -> str | None:
        name = f"{session_id}@{suffix}"

        def work(db: sqlite3.Connection) -> str | None:
            if not db.execute(QUARANTINE, (name, session_id, record)).fetchall():
                return None
            db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            return f"row {name!r} of the table quarantine of {self.path}"

        return await self._database.get().change(work)

    async def _claim(self, claims: Sequence[Claim]) -> list[Held | bytes | None]:
        now = self._now()

        def work(db: sqlite3.Connection) -> list[Held | bytes | None]:
            with leases_of(db, [claim.session_id for claim in claims]) as (leases, tick):
                return [leases.claim(claim, tick) or _find(db, claim.session_id, now) for claim in claims]

        return await self._database.get().change(work, durable=False)

    async def _renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        def work(db: sqlite3.Connection) -> list[bool]:
            with leases_of(db, holders) as (leases, tick):
                return [leases.renew(session_id, holder, tick, ttl=ttl) for session_id, holder in holders.items()]

        return await self._database.get().change(work, durable=False)

    async def _release_leases(self, holders: Mapping[str, str]) -> None:
        def work(db: sqlite3.Connection) -> None:
            with leases_of(db, holders) as (leases, tick):
                for session_id, holder in holders.items():
                    leases.release(session_id, holder, tick)

        await self._database.get().change(work, durable=False)

    def _now(self) -> str:
        return records.moment(self.lifetime.now())


def _find(db: sqlite3.Connection, session_id: str, now: str) -> bytes | None:
    """Return the text of a session; `None` if it is absent or expired."""
    for (record,) in db.execute(FIND, (session_id, now)):
        return bytes(record)
    return None


def _apply(
    db: sqlite3.Connection, changes: Sequence[Change], now: str
) -> list[SessionConflictError | StoreError | None]:
    # Without a holder, only a removal concerns the lease: it ends it.
    involved = [change.session_id for change in changes if change.holder is not None or change.record is None]
    with leases_of(db, involved) as (leases, tick):
        return [_apply_one(db, change, leases, tick, now) for change in changes]


def _apply_one(
    db: sqlite3.Connection, change: Change, leases: LeaseTable, tick: float, now: str
) -> SessionConflictError | StoreError | None:
    session_id, holder = change.session_id, change.holder
    if holder is not None and not leases.is_held_by(session_id, holder, tick):
        return SessionConflictError(session_id)
    if not change.allows(_find(db, session_id, now)):
        return SessionConflictError(session_id)
    if change.record is None:
        db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    else:
        ends = None if change.expires_at is None else records.moment(change.expires_at)
        try:
            db.execute(PUT, (session_id, change.record.decode(), ends))
        except (sqlite3.Error, OverflowError) as error:
            if not is_too_large(error):
                raise
            return SessionTooLargeError(f"SQLite does not store a session of {len(change.record):,} bytes: {error}")
    if holder is not None:
        leases.release(session_id, holder, tick)
    elif change.record is None:
        leases.end(session_id, tick)
    return None
