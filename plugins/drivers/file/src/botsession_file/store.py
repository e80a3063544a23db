"""The store of the driver `file`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    CorruptSessionError,
    DriverLoadError,
    Finding,
    Lifetime,
    Minutes,
    SessionConflictError,
    StoreError,
    utc_now,
)
from botsession.storage import Change, Entry, Found, LeasingRecordStore

if sys.platform == "win32":
    raise DriverLoadError(
        "the driver 'file' needs the file locks of POSIX systems, which Windows does not have",
        remedy="Choose memory, redis or mongo.",
    )

from botsession_file import listing
from botsession_file.folder import SHARDS, Folder
from botsession_file.records import RecordFolder
from botsession_file.threads import Threads

if TYPE_CHECKING:
    from botsession import Claim, Held


class FileSessionStore(LeasingRecordStore):
    """Keeps each session in a file of its own, durable and safe across the processes of a machine.

    Leases hold among the processes of the machine, and end when it restarts.

    Args:
        dirname: The directory, which `init` makes if it is missing. A relative path is resolved at once; `~` is the home
            directory.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the present moment, with a time zone.

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
        self._folder = Folder(_absolute(os.fspath(dirname)))
        lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        super().__init__(f"FileSessionStore({str(self.dirname)!r})", lifetime)
        self._records = RecordFolder(self._name, self._folder, lifetime)
        self._threads = Threads(self._folder)

    @property
    def dirname(self) -> Path:
        """The directory, absolute."""
        return self._folder.path

    async def init(self) -> Self:
        """Make the directory if it is missing, and write to it.

        Raises:
            ConfigError: `dirname` is not a directory.
            StoreUnavailableError: The directory cannot be made or written.
        """
        self._threads.enter()
        await self._threads.run_alone(self._folder.prepare)
        self._threads.start()
        return self

    async def close(self) -> None:
        """Wait for the calls in progress, unless they are the parent process's."""
        await self._threads.stop()

    async def ping(self) -> None:
        self._check()
        await self._threads.run("read", lambda _: self._folder.probe())

    async def purge(self) -> int:
        """Remove all expired sessions, leases that are over, and the drafts of killed writers."""
        self._check()
        removed = 0
        for shard in SHARDS:
            removed += await self._threads.run("write", partial(listing.purge, self._folder, self.lifetime, shard))
        return removed

    async def diagnose(self) -> list[Finding]:
        from botsession_file.diagnosis import diagnose

        self._check()
        return await self._threads.run("read", lambda _: diagnose(self.dirname))

    def _check_open(self) -> None:
        self._threads.check()

    async def _load(self, session_ids: Sequence[str]) -> list[Found]:
        return await self._threads.run("read", lambda _: self._records.load(session_ids))

    async def _apply(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        session_ids = (change.session_id for change in changes)
        return await self._threads.run_many("write", self._records.apply, changes, session_ids)

    async def _page(
        self, prefix: str, after: str | None, limit: int | None
    ) -> tuple[list[Entry | CorruptSessionError], str | None]:
        return await self._threads.run("read", lambda _: listing.page(self._folder, prefix, after, limit))

    async def _set_aside(self, session_id: str, record: bytes, suffix: str) -> str | None:
        return await self._threads.run("write", partial(self._records.quarantine, session_id, record, suffix))

    async def _claim(self, claims: Sequence[Claim]) -> list[Found | Held]:
        session_ids = (claim.session_id for claim in claims)
        return await self._threads.run_many("lease", self._records.claim, claims, session_ids)

    async def _renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        return await self._threads.run_many("lease", partial(self._records.renew, ttl), list(holders.items()), holders)

    async def _release_leases(self, holders: Mapping[str, str]) -> None:
        await self._threads.run_many("lease", self._records.release, list(holders.items()), holders)


def _absolute(dirname: str) -> Path:
    if not dirname or "\0" in dirname:
        raise ConfigError(f"dirname is the path of a directory; got {dirname!r}")
    try:
        return Path(dirname).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"dirname {dirname!r} names a home directory that does not exist") from error
