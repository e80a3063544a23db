"""Sessions out of a store, line by line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from botsession.errors import CorruptSessionError
from botsession.protocol import SessionStore, StoredSession, SupportsCommit
from botsession_operations import archive
from botsession_operations.clock import live
from botsession_operations.listing import pages


@dataclass(slots=True)
class Exported:
    """What an export has done so far.

    Attributes:
        sessions: How many sessions were written.
        unreadable: One error for each session that was left out because it cannot be read.
    """

    sessions: int = 0
    unreadable: list[CorruptSessionError] = field(default_factory=list)


async def export_lines(store: SessionStore, done: Exported, prefix: str = "") -> AsyncGenerator[bytes]:
    """Writes the sessions of a store as lines, while bots go on; see `botsession_operations.archive`.

    Args:
        store: The store, open.
        done: Counted up while the lines are taken.
        prefix: How the ids begin.

    Yields:
        Lines. Where others write meanwhile, some backends list a session twice; an import takes the later one.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreError: The backend failed.
    """
    yield archive.first_line()
    async with aclosing(pages(store, prefix)) as found:
        async for page in found:
            done.unreadable += page.unreadable
            for outcome in await read_all(store, [info.id for info in page.sessions]):
                if isinstance(outcome, CorruptSessionError):
                    done.unreadable.append(outcome)
                elif outcome is not None:
                    yield archive.session_line(outcome)
                    done.sessions += 1
    yield archive.last_line(done.sessions)


async def read_all(store: SessionStore, session_ids: Sequence[str]) -> list[StoredSession | CorruptSessionError | None]:
    """Reads many sessions: for each the session, `None` where absent or expired, or why it cannot be read.

    Raises:
        StoreError: The backend failed.
    """
    outcomes: list[StoredSession | CorruptSessionError | None] = []
    if isinstance(store, SupportsCommit):
        for outcome in await store.read_many(session_ids):
            if isinstance(outcome, Exception) and not isinstance(outcome, CorruptSessionError):
                raise outcome
            outcomes.append(outcome if isinstance(outcome, CorruptSessionError) else live(store, outcome))
        return outcomes
    for session_id in session_ids:
        try:
            outcomes.append(live(store, await store.read(session_id)))
        except CorruptSessionError as error:
            outcomes.append(error)
    return outcomes
