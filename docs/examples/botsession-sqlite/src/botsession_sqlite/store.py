"""The store of the driver `sqlite`."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
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
    InvalidSessionIdError,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    SessionTooLargeError,
    Step,
    StoredSession,
    StoreError,
    utc_now,
)
from botsession.configuration.limits import check_page_size
from botsession.ids import MAX_BYTES, check_session_id
from botsession.storage import records
from botsession_sqlite import diagnosis, rows, statements, transactions
from botsession_sqlite.batches import as_parameter, batches
from botsession_sqlite.link import Link

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
        self._link: Final = Link(self.path, timeout, repr(self))

    def __repr__(self) -> str:
        return f"SqliteSessionStore({self.path!r})"

    async def init(self) -> Self:
        await self._link.open()
        return self

    async def close(self) -> None:
        await self._link.close()

    async def read(self, session_id: str) -> StoredSession | None:
        check_session_id(session_id)
        found = await self._link.read(statements.READ, id=session_id, now=self._now())
        return rows.to_session(found[0], repr(self)) if found else None

    async def write(self, session_id: str, session: StoredSession) -> None:
        await self._link.change(statements.WRITE, **self._stamped(session_id, session))

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        row = self._stamped(session_id, session)
        if not await self._link.change(statements.REPLACE, **row, expected=expected, now=self._now()):
            raise SessionConflictError(session_id)

    async def destroy(self, session_id: str) -> None:
        await self._destroy_many([Step.remove(session_id)])

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        check_session_id(session_id)
        deadline = None if expires_at is None else rows.milliseconds(expires_at)
        return bool(await self._link.change(statements.TOUCH, id=session_id, expires_at=deadline, now=self._now()))

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions in the order of their ids, compared as UTF-8; a page holds 500 where no limit is given."""
        if after is not None:
            try:
                check_session_id(after)
            except InvalidSessionIdError as error:
                raise StoreError(f"{after!r} is no cursor of {self!r}") from error
        check_page_size(limit)
        size = min(limit or _PAGE, _LARGEST_PAGE)
        found = await self._link.read(
            statements.SCAN, first=prefix, last=prefix + _LAST, after=after or "", now=self._now(), limit=size + 1
        )
        outcomes = (rows.listed(row, repr(self)) for row in found[:size])
        return ScanPage.of(outcomes, str(found[size - 1][0]) if len(found) > size else None)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        for session_id in session_ids:
            check_session_id(session_id)
        found = await self._link.read(statements.READ_MANY, ids=as_parameter(session_ids), now=self._now())
        by_id = {row[0]: row for row in found}
        return [rows.outcome(by_id.get(session_id), repr(self)) for session_id in session_ids]

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        outcomes: dict[str, SessionConflictError | StoreError | None] = {}
        for carry_out, some in (
            (self._destroy_many, [step for step in steps if step.session is None]),
            (self._replace_many, [step for step in steps if step.session is not None and step.is_stamped]),
            (self._restore_many, [step for step in steps if step.session is not None and not step.is_stamped]),
        ):
            if some or not steps:
                outcomes |= dict(zip([step.session_id for step in some], await carry_out(some), strict=True))
        return [outcomes[step.session_id] for step in steps]

    async def _replace_many(self, replacements: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        """Replaces many sessions in one transaction, or one for each 32 million characters or id that comes again."""
        entries = [
            {**self._stamped(entry.session.id, entry.session), "expected": entry.expected} for entry in replacements
        ]
        holders = {entry.session.id: entry.holder for entry in replacements if entry.holder is not None}
        return await self._replace_rows(entries, holders)

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        """Takes leases, which hold among the processes of this machine and end when it starts anew."""
        for claim in claims:
            check_session_id(claim.session_id)
        claiming = partial(transactions.claim_and_read, claims=claims, now=self._now())
        found = await self._link.transact(claiming, durable=False)
        return [each if isinstance(each, Held) else rows.outcome(each, repr(self)) for each in found]

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        for session_id in holders:
            check_session_id(session_id)
        return await self._link.transact(partial(transactions.renew, holders=holders, ttl=ttl), durable=False)

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        for session_id in holders:
            check_session_id(session_id)
        await self._link.transact(partial(transactions.release, holders=holders), durable=False)

    async def _restore_many(self, restorations: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        self._link.opened()
        for restoration in restorations:
            records.check_restored(restoration.session)
        return await self._replace_rows(
            [{**rows.from_session(entry.session), **rows.condition(entry.expected)} for entry in restorations], {}
        )

    async def _destroy_many(self, removals: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        for removal in removals:
            check_session_id(removal.session_id)
        destroying = partial(transactions.destroy, removals=removals, now=self._now())
        done = await self._link.transact(destroying, durable=True)
        return [
            None if gone else SessionConflictError(removal.session_id)
            for removal, gone in zip(removals, done, strict=True)
        ]

    async def purge(self) -> int:
        """Removes leases that are over, and all expired sessions, a thousand in a transaction; others go in between."""
        await self._link.transact(transactions.purge_leases, durable=False)
        now = self._now()
        removed = 0
        while True:
            done = await self._link.change(statements.PURGE, now=now, limit=_PURGED_AT_ONCE)
            removed += len(done)
            if len(done) < _PURGED_AT_ONCE:
                return removed

    async def quarantine(self, session_id: str) -> str | None:
        """Moves the row into the table `quarantine`."""
        check_session_id(session_id)
        moving = partial(transactions.put_aside, session_id=session_id, now=self._now())
        number = await self._link.transact(moving, durable=True)
        return None if number is None else f"row {number} of the table quarantine in {self.path!r}"

    async def ping(self) -> None:
        await self._link.read(statements.PING)

    async def diagnose(self) -> list[Finding]:
        [(damage,)] = await self._link.read(statements.CHECK)
        [(expired,)] = await self._link.read(statements.COUNT_EXPIRED, now=self._now())
        [(quarantined,)] = await self._link.read(statements.COUNT_QUARANTINED)
        looking = asyncio.to_thread(
            diagnosis.diagnose, self.path, damage=str(damage), expired=expired, quarantined=quarantined
        )
        return await self._link.answer(looking)

    async def _replace_rows(
        self, entries: Sequence[rows.Row], holders: Mapping[str, str]
    ) -> list[SessionConflictError | StoreError | None]:
        outcomes: list[SessionConflictError | StoreError | None] = []
        for batch in batches(entries):
            chosen = entries[batch.start : batch.stop]
            givers = {entry["id"]: holders[entry["id"]] for entry in chosen if entry["id"] in holders}
            storing = partial(
                transactions.replace_and_release, entries=as_parameter(chosen), holders=givers, now=self._now()
            )
            try:
                done = await self._link.transact(storing, durable=True)
            except SessionTooLargeError as error:
                if len(chosen) > 1:
                    raise
                outcomes.append(error)
                continue
            stored = {session_id for (session_id,) in done}
            outcomes += [None if entry["id"] in stored else SessionConflictError(entry["id"]) for entry in chosen]
        return outcomes

    def _stamped(self, session_id: str, session: StoredSession) -> rows.Row:
        records.check_pair(session_id, session)
        self._link.opened()
        self.lifetime.stamp(session)
        return rows.from_session(session)

    def _now(self) -> int:
        return rows.milliseconds(self.lifetime.now())
