"""The store of the driver `file`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar, cast

from aiofiles.os import wrap

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    Finding,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    StoreError,
    StoreUnavailableError,
    records,
    utc_now,
)
from botsession.ids import check_session_id

if sys.platform == "win32":
    raise ConfigError(
        "the driver 'file' needs the file locks of POSIX systems; on Windows choose memory, redis or mongo"
    )

from botsession_file import diagnosis, listing, names
from botsession_file.entries import Change, Entries
from botsession_file.failures import reported
from botsession_file.folder import SHARDS, Call, Folder

if TYPE_CHECKING:
    from datetime import datetime

    from botsession import Replacement, Restoration, SessionInfo, StoredSession

T = TypeVar("T")

_READERS: Final = 4
_WRITERS: Final = 16


class FileSessionStore:
    """Keeps each session in a file of its own; what was written is durable, and safe across the processes of a machine.

    Args:
        dirname: The directory, made by `init` where it is missing; a relative one counts from the working directory of
            this moment, `~` is the home directory.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment in UTC.

    Attributes:
        lifetime: How long sessions are kept.

    Raises:
        ConfigError: `dirname` is empty, or a number of minutes is not above zero.
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str] = ".sessions",
        expires_in: Minutes | None = ONE_YEAR,
        *,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._folder = Folder(_absolute(os.fspath(dirname)))
        self._entries = Entries(self._folder, self.lifetime)
        self._readers: ThreadPoolExecutor | None = None
        self._writers: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"FileSessionStore({str(self.dirname)!r})"

    @property
    def dirname(self) -> Path:
        """The directory, absolute."""
        return self._folder.path

    async def init(self) -> Self:
        """Makes the directory where it is missing, and writes into it to see that it can be written.

        Raises:
            ConfigError: `dirname` is a file.
            StoreUnavailableError: The directory cannot be made or written.
        """
        await self._hop(self._folder.prepare, None)
        if self._writers is None:
            self._readers = ThreadPoolExecutor(_READERS, "botsession-file-read")
            self._writers = ThreadPoolExecutor(_WRITERS, "botsession-file-write")
        return self

    async def close(self) -> None:
        """Lets the calls that are under way finish."""
        pools = (self._readers, self._writers)
        self._readers = self._writers = None
        for pool in pools:
            if pool is not None:
                await wrap(pool.shutdown)()

    async def ping(self) -> None:
        await self._reading(self._folder.probe)

    async def read(self, session_id: str) -> StoredSession | None:
        check_session_id(session_id)
        return await self._reading(lambda: self._entries.read(session_id))

    async def write(self, session_id: str, session: StoredSession) -> None:
        change = self._change(session_id, session)
        await self._changing(lambda call: self._entries.write(change.place, change.raw, call))

    async def destroy(self, session_id: str) -> None:
        await self.destroy_many([session_id])

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        change = self._change(session_id, session, expected)
        await self._changing(lambda call: self._entries.replace(change, call))

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        check_session_id(session_id)
        return await self._changing(lambda call: self._entries.touch(session_id, expires_at, call))

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions page by page; a file that is no session is left alone and told in the log."""
        return await self._reading(lambda: listing.page(self._folder, self.lifetime, prefix, after, limit))

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        for session_id in session_ids:
            check_session_id(session_id)
        return await self._reading(lambda: self._entries.read_many(session_ids))

    async def replace_many(self, replacements: Sequence[Replacement]) -> list[SessionConflictError | StoreError | None]:
        """Replaces many sessions, in as many threads as help; one that the disk refused has that as its outcome."""
        self._check_open()
        for replacement in replacements:
            records.check_pair(replacement.session.id, replacement.session)
        changes = [self._change(entry.session.id, entry.session, entry.expected) for entry in replacements]
        return await self._carry_out(changes)

    async def restore_many(self, restorations: Sequence[Restoration]) -> list[SessionConflictError | StoreError | None]:
        """Restores many sessions, in as many threads as help; one that the disk refused has that as its outcome."""
        self._check_open()
        for restoration in restorations:
            records.check_restored(restoration.session)
        return await self._carry_out([_change(entry.session, entry.over) for entry in restorations])

    async def destroy_many(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            check_session_id(session_id)
        await self._changing(lambda call: self._entries.destroy_many(session_ids, call))

    async def purge(self) -> int:
        """Removes all expired sessions, and what killed writers left."""
        removed = 0
        for shard in SHARDS:
            removed += await self._changing(partial(listing.purge, self._folder, self.lifetime, shard))
        return removed

    async def diagnose(self) -> list[Finding]:
        return await self._reading(lambda: diagnosis.diagnose(self.dirname))

    def _check_open(self) -> None:
        if self._writers is None:
            raise StoreError("the file store is not open; call `await store.init()` first")

    def _change(self, session_id: str, session: StoredSession, expected: str | None = None) -> Change:
        self._check_open()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        return _change(session, expected)

    async def _carry_out(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        shares = _shares(changes)
        jobs = [self._changing(partial(self._entries.replace_many, [changes[i] for i in share])) for share in shares]
        outcomes: list[SessionConflictError | StoreError | None] = [None] * len(changes)
        for share, results in zip(shares, await asyncio.gather(*jobs), strict=True):
            for index, outcome in zip(share, results, strict=True):
                outcomes[index] = outcome
        first = next(iter(outcomes), None)
        if first and all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes):
            raise first
        return outcomes

    async def _reading(self, job: Callable[[], T]) -> T:
        self._check_open()
        return await self._hop(job, self._readers)

    async def _changing(self, job: Callable[[Call], T]) -> T:
        """Runs a job that makes changes; one whose caller was cancelled makes none, or made them before any later one."""
        self._check_open()
        call = Call()
        try:
            return await self._hop(partial(job, call), self._writers)
        except asyncio.CancelledError:
            call.abandoned = True
            raise

    async def _hop(self, job: Callable[[], T], pool: ThreadPoolExecutor | None) -> T:
        """Runs a job in a thread of the pool."""
        try:
            return cast("T", await _in_thread(job, executor=pool))
        except OSError as error:
            raise reported(error, self.dirname) from error


def _run(job: Callable[[], object]) -> object:
    return job()


_in_thread: Final = wrap(_run)


def _absolute(dirname: str) -> Path:
    if not dirname or "\0" in dirname:
        raise ConfigError(f"dirname is the path of a directory; got {dirname!r}")
    try:
        return Path(dirname).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"dirname {dirname!r}: there is no such home directory") from error


def _change(session: StoredSession, expected: str | StoredSession | SessionInfo | None) -> Change:
    return Change(session.id, names.place(session.id), records.encode(session) + b"\n", expected)


def _shares(changes: Sequence[Change]) -> list[list[int]]:
    """Splits changes, by index, into one share per thread; those of one subdirectory stay next to each other."""
    order = sorted(range(len(changes)), key=lambda index: changes[index].place.shard)
    groups = [list(group) for _, group in groupby(order, lambda index: changes[index].place.shard)]
    return [list(chain.from_iterable(groups[first::_WRITERS])) for first in range(min(_WRITERS, len(groups)))]
