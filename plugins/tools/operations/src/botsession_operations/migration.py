"""Migration: copying all sessions from one store to another while bots run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Literal

from botsession.errors import BotSessionError, CorruptSessionError, SessionConflictError, StoreError
from botsession.protocol import SessionStore, StoredSession
from botsession_operations.listing import pages, read_all
from botsession_operations.mirror.copies import remove
from botsession_operations.mirror.marks import is_copy
from botsession_operations.restoration import CommittingStore, Outcome, check_commits, restore_all

_BATCH: Final = 500


@dataclass(slots=True)
class MigrationReport:
    """Progress of a migration.

    Attributes:
        copied: Number of sessions copied and verified; with `dry_run`, the number that would be copied.
        kept: Number of sessions of which the target already had an equal or newer one. This includes sessions of which
            the source holds only the copy that a mirror keeps of a session in the target.
        gone: Number of sessions that expired or were destroyed after they were listed.
        unreadable: One error for each session of the source that cannot be read.
        failed: One error for each session that could not be copied.
    """

    copied: int = 0
    kept: int = 0
    gone: int = 0
    unreadable: list[CorruptSessionError] = field(default_factory=list)
    failed: list[BotSessionError] = field(default_factory=list)


async def migrate(
    source: SessionStore,
    target: SessionStore,
    report: MigrationReport,
    *,
    prefix: str = "",
    rate: float | None = None,
    dry_run: bool = False,
) -> AsyncGenerator[int]:
    """Copy sessions as they are, including versions and deadlines, and read each one back.

    The target keeps whatever is equal or newer, so an interrupted migration can simply be repeated. A session that is
    destroyed in the source while it is being copied is removed from the target again.

    Args:
        source: The open store to copy from.
        target: The open store to copy to.
        report: Updated as the migration proceeds.
        prefix: Only ids that start with this.
        rate: Maximum number of sessions per second; `None` means no limit.
        dry_run: Only count; store nothing.

    Yields:
        The number of sessions processed since the last yield.

    Raises:
        UnsupportedError: The source cannot list its sessions, or the target cannot keep them as they are.
        StoreError: A backend failed; what was copied before stays.
    """
    committing = check_commits(target)
    began, seen = time.monotonic(), 0
    size = _BATCH if rate is None else max(1, min(_BATCH, int(rate)))
    async with aclosing(pages(source, prefix)) as listing:
        async for page in listing:
            report.unreadable += page.unreadable
            for first in range(0, len(page.sessions), size):
                if rate is not None:
                    await asyncio.sleep(began + seen / rate - time.monotonic())
                ids = [info.id for info in page.sessions[first : first + size]]
                sessions = await _read(source, ids, report)
                outcomes = await (_compare(committing, sessions) if dry_run else _copy(source, committing, sessions))
                report.gone += outcomes.count("gone")
                report.copied += outcomes.count("stored")
                report.kept += outcomes.count("kept")
                report.failed += [outcome for outcome in outcomes if isinstance(outcome, BotSessionError)]
                seen += len(ids)
                yield len(ids)


async def _read(source: SessionStore, session_ids: Sequence[str], report: MigrationReport) -> list[StoredSession]:
    """Return the sessions to copy, and count the others."""
    sessions: list[StoredSession] = []
    for outcome in await read_all(source, session_ids):
        if isinstance(outcome, CorruptSessionError):
            report.unreadable.append(outcome)
        elif outcome is None:
            report.gone += 1
        elif is_copy(outcome):
            report.kept += 1
        else:
            sessions.append(outcome)
    return sessions


async def _copy(
    source: SessionStore, target: CommittingStore, sessions: Sequence[StoredSession]
) -> list[Outcome | Literal["gone"]]:
    """Copy sessions, verify what was stored, and remove what has since been destroyed in the source."""
    outcomes: list[Outcome | Literal["gone"]] = [*await restore_all(target, sessions, "newer")]
    copied = [index for index, outcome in enumerate(outcomes) if outcome == "stored"]
    ids = [sessions[index].id for index in copied]
    in_target, in_source = await read_all(target, ids), await read_all(source, ids)
    for index, stored, original in zip(copied, in_target, in_source, strict=True):
        session = sessions[index]
        if original is None:
            outcomes[index] = await _take_back(target, session)
        elif stored is None:
            outcomes[index] = StoreError(
                f"session {session.id!r} was stored in the target but is missing when read back",
                remedy="Check whether the target has room for all sessions.",
            )
        elif isinstance(stored, CorruptSessionError):
            outcomes[index] = stored
        elif stored.version == session.version and stored.state != session.state:
            outcomes[index] = StoreError(f"session {session.id!r} differs from what was copied when read back")
    return outcomes


async def _take_back(target: CommittingStore, session: StoredSession) -> Outcome | Literal["gone"]:
    outcome = await remove(target, session)
    return "gone" if outcome is None else "kept" if isinstance(outcome, SessionConflictError) else outcome


async def _compare(target: CommittingStore, sessions: Sequence[StoredSession]) -> list[Outcome | Literal["gone"]]:
    outcomes: list[Outcome | Literal["gone"]] = []
    for session, current in zip(sessions, await read_all(target, [session.id for session in sessions]), strict=True):
        if isinstance(current, CorruptSessionError):
            outcomes.append(current)
        else:
            is_newer = current is None or session.last_activity > current.last_activity
            outcomes.append("stored" if is_newer else "kept")
    return outcomes
