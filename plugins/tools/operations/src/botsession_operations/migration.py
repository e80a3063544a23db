"""All sessions of a store into another one, while bots go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Literal

from botsession.errors import (
    BotSessionError,
    CorruptSessionError,
    SessionConflictError,
    StoreError,
)
from botsession.protocol import SessionStore, StoredSession
from botsession_operations.exports import read_all
from botsession_operations.listing import pages
from botsession_operations.mirror.copies import remove
from botsession_operations.mirror.marks import is_copy
from botsession_operations.restoration import (
    Outcome,
    Restoring,
    check_restores,
    restore_all,
)

_AT_ONCE: Final = 500


@dataclass(slots=True)
class Migrated:
    """What a migration has done so far.

    Attributes:
        copied: How many sessions were copied and read back; with `dry_run`, how many would be.
        kept: How many the target had already, as new or newer, and kept; sessions of which the source has only the copy
            that a mirror keeps of one in the target are among them.
        gone: How many ended, or were destroyed, after they were listed.
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
    done: Migrated,
    *,
    prefix: str = "",
    rate: float | None = None,
    dry_run: bool = False,
) -> AsyncGenerator[int]:
    """Copies sessions as they are, versions and deadlines included, and reads each one back.

    What the target has as new or newer stays, so that a migration which was interrupted is simply run again. What is
    destroyed in the source while it is copied is taken back from the target.

    Args:
        source: Where the sessions are; open.
        target: Where they are to be; open.
        done: Counted up while the migration goes on.
        prefix: How the ids begin.
        rate: How many sessions a second at most; as many as possible where `None`.
        dry_run: Look, and store nothing.

    Yields:
        How many more sessions were looked at.

    Raises:
        UnsupportedError: The source cannot list its sessions, or the target cannot keep them as they are.
        StoreError: A backend failed; what was copied before stays.
    """
    restoring = check_restores(target)
    began, seen = time.monotonic(), 0
    at_once = _AT_ONCE if rate is None else max(1, min(_AT_ONCE, int(rate)))
    async with aclosing(pages(source, prefix)) as found:
        async for page in found:
            done.unreadable += page.unreadable
            for first in range(0, len(page.sessions), at_once):
                if rate is not None:
                    await asyncio.sleep(began + seen / rate - time.monotonic())
                ids = [info.id for info in page.sessions[first : first + at_once]]
                sessions = await _read(source, ids, done)
                outcomes = await (_look(restoring, sessions) if dry_run else _copy(source, restoring, sessions))
                done.gone += outcomes.count("gone")
                done.copied += outcomes.count("stored")
                done.kept += outcomes.count("kept")
                done.failed += [outcome for outcome in outcomes if isinstance(outcome, BotSessionError)]
                seen += len(ids)
                yield len(ids)


async def _read(source: SessionStore, session_ids: Sequence[str], done: Migrated) -> list[StoredSession]:
    """Returns the sessions that can be copied; counts the others."""
    sessions: list[StoredSession] = []
    for outcome in await read_all(source, session_ids):
        if isinstance(outcome, CorruptSessionError):
            done.unreadable.append(outcome)
        elif outcome is None:
            done.gone += 1
        elif is_copy(outcome):
            done.kept += 1
        else:
            sessions.append(outcome)
    return sessions


async def _copy(
    source: SessionStore, target: Restoring, sessions: Sequence[StoredSession]
) -> list[Outcome | Literal["gone"]]:
    """Copies a page, reads back what was stored, and takes back what was destroyed in the source meanwhile."""
    outcomes: list[Outcome | Literal["gone"]] = [*await restore_all(target, sessions, "newer")]
    copied = [index for index, outcome in enumerate(outcomes) if outcome == "stored"]
    ids = [sessions[index].id for index in copied]
    there, here = await read_all(target, ids), await read_all(source, ids)
    for index, stored, left in zip(copied, there, here, strict=True):
        session = sessions[index]
        if left is None:
            outcomes[index] = await _take_back(target, session)
        elif stored is None:
            outcomes[index] = StoreError(
                f"session {session.id!r} is not there when it is read back; has the target room?"
            )
        elif isinstance(stored, CorruptSessionError):
            outcomes[index] = stored
        elif stored.version == session.version and stored.state != session.state:
            outcomes[index] = StoreError(f"session {session.id!r} reads back otherwise than it was copied")
    return outcomes


async def _take_back(target: Restoring, session: StoredSession) -> Outcome | Literal["gone"]:
    outcome = await remove(target, session)
    return "gone" if outcome is None else "kept" if isinstance(outcome, SessionConflictError) else outcome


async def _look(target: Restoring, sessions: Sequence[StoredSession]) -> list[Outcome | Literal["gone"]]:
    outcomes: list[Outcome | Literal["gone"]] = []
    for session, there in zip(sessions, await read_all(target, [session.id for session in sessions]), strict=True):
        if isinstance(there, CorruptSessionError):
            outcomes.append(there)
        else:
            newer = there is None or session.last_activity > there.last_activity
            outcomes.append("stored" if newer else "kept")
    return outcomes
