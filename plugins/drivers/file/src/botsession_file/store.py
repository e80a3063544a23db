"""The store of the driver `file`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    DriverLoadError,
    Finding,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    Step,
    StoreError,
    StoreUnavailableError,
    utc_now,
)
from botsession.ids import check_session_id
from botsession.storage import check_page_size, records

if sys.platform == "win32":
    raise DriverLoadError(
        "the driver 'file' needs the file locks of POSIX systems, which Windows does not have. Choose memory, redis or mongo"
    )

from botsession_file import listing, names
from botsession_file.entries import Change, Entries
from botsession_file.folder import SHARDS, Folder
from botsession_file.threads import Threads

if TYPE_CHECKING:
    from datetime import datetime

    from botsession import (
        Claim,
        Held,
        SessionInfo,
        StoredSession,
    )

OutcomeT = TypeVar("OutcomeT")


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
        self._threads = Threads(self._folder)

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
        self._threads.enter()
        await self._threads.preparing(self._folder.prepare)
        self._threads.start()
        return self

    async def close(self) -> None:
        """Lets the calls that are under way finish, unless they are the parent process's."""
        await self._threads.stop()

    async def ping(self) -> None:
        await self._threads.reading(self._folder.probe)

    async def read(self, session_id: str) -> StoredSession | None:
        check_session_id(session_id)
        return await self._threads.reading(lambda: self._entries.read(session_id))

    async def write(self, session_id: str, session: StoredSession) -> None:
        change = self._change(session_id, session)
        await self._threads.changing(lambda call: self._entries.write(session_id, change.raw, call))

    async def destroy(self, session_id: str) -> None:
        [error] = await self._destroy_many([Step.remove(session_id)])
        if error is not None:
            raise error

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        [error] = await self._carry_out([self._change(session_id, session, expected)])
        if error is not None:
            raise error

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        """Takes leases, which hold among the processes of this machine and end when it starts anew."""
        self._threads.check_started()
        for claim in claims:
            check_session_id(claim.session_id)
        return _unless_lost(
            await self._threads.leasing_many(
                self._entries.lease_many, claims, [names.place(claim.session_id).shard for claim in claims]
            )
        )

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        for session_id in holders:
            check_session_id(session_id)
        return await self._threads.leasing_many(
            partial(self._entries.renew_leases, ttl),
            list(holders.items()),
            [names.place(each).shard for each in holders],
        )

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        for session_id in holders:
            check_session_id(session_id)
        await self._threads.leasing(partial(self._entries.release_leases, holders))

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        check_session_id(session_id)
        return await self._threads.changing(lambda call: self._entries.touch(session_id, expires_at, call))

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists sessions page by page; a file that is no session is left alone and told in the log."""
        check_page_size(limit)
        return await self._threads.reading(lambda: listing.page(self._folder, self.lifetime, prefix, after, limit))

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        for session_id in session_ids:
            check_session_id(session_id)
        return await self._threads.reading(lambda: self._entries.read_many(session_ids))

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
        """Replaces many sessions, in as many threads as help; one that the disk refused has that as its outcome."""
        self._threads.check_started()
        for replacement in replacements:
            check_session_id(replacement.session.id)
        self.lifetime.stamp_all([replacement.session for replacement in replacements])
        return await self._carry_out(
            [_change(replacement.session, replacement.expected, replacement.holder) for replacement in replacements]
        )

    async def _restore_many(self, restorations: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        """Restores many sessions, in as many threads as help; one that the disk refused has that as its outcome."""
        self._threads.check_started()
        for restoration in restorations:
            records.check_restored(restoration.session)
        return await self._carry_out([_change(entry.session, entry.expected) for entry in restorations])

    async def _destroy_many(self, removals: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        """Removes many sessions, in as many threads as help; one that the disk refused has that as its outcome."""
        for removal in removals:
            check_session_id(removal.session_id)
        return _unless_lost(
            await self._threads.changing_many(
                self._entries.destroy_many, removals, [names.place(removal.session_id).shard for removal in removals]
            )
        )

    async def purge(self) -> int:
        """Removes all expired sessions, leases that are over, and what killed writers left."""
        removed = 0
        for shard in SHARDS:
            removed += await self._threads.changing(partial(listing.purge, self._folder, self.lifetime, shard))
        return removed

    async def quarantine(self, session_id: str) -> str | None:
        """Renames what is unreadable, whatever it is, within its subdirectory."""
        check_session_id(session_id)
        return await self._threads.changing(partial(self._entries.quarantine, session_id))

    async def diagnose(self) -> list[Finding]:
        from botsession_file.diagnosis import diagnose

        return await self._threads.reading(lambda: diagnose(self.dirname))

    def _change(
        self, session_id: str, session: StoredSession, expected: str | None = None, holder: str | None = None
    ) -> Change:
        self._threads.check_started()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        return _change(session, expected, holder)

    async def _carry_out(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        return _unless_lost(
            await self._threads.changing_many(
                self._entries.replace_many, changes, [change.place.shard for change in changes]
            )
        )


def _absolute(dirname: str) -> Path:
    if not dirname or "\0" in dirname:
        raise ConfigError(f"dirname is the path of a directory; got {dirname!r}")
    try:
        return Path(dirname).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"dirname {dirname!r}: there is no such home directory") from error


def _change(
    session: StoredSession, expected: str | StoredSession | SessionInfo | None, holder: str | None = None
) -> Change:
    return Change(session.id, names.place(session.id), records.encode(session) + b"\n", expected, holder)


def _unless_lost(outcomes: list[OutcomeT]) -> list[OutcomeT]:
    """Returns the outcomes; raises where the disk has refused all of them."""
    first = outcomes[0] if outcomes else None
    if isinstance(first, StoreUnavailableError) and all(isinstance(each, StoreUnavailableError) for each in outcomes):
        raise first
    return outcomes
