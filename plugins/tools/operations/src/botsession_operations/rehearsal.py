"""Rehearsal of migrations on every session of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botsession.errors import CorruptSessionError, StateError
from botsession.sessions import Sessions
from botsession_operations.listing import pages


@dataclass(slots=True)
class Rehearsal:
    """Result of a rehearsal.

    Attributes:
        sessions: Number of sessions read, including those that failed.
        migrated: How many of them have an older shape and were migrated without an error.
        failed: The error of each session that cannot be used, by its id: a migration failed, the state does not fit the
            type, or the stored record is unreadable.
    """

    sessions: int = 0
    migrated: int = 0
    failed: dict[str, StateError | CorruptSessionError] = field(default_factory=dict)


async def rehearse(sessions: Sessions[Any], prefix: str = "") -> Rehearsal:
    """Read every session as a turn would, with the migrations and the type of `sessions`, and change nothing.

    Run it before you deploy a bot with new `migrations` or another `state_type`.

    Args:
        sessions: Made as the bot makes it, with an open store.
        prefix: Only ids that start with this.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreUnavailableError: The backend does not answer.
    """
    result = Rehearsal()
    async for page in pages(sessions.store, prefix):
        for error in page.unreadable:
            result.sessions += 1
            result.failed[error.session_id] = error
        for info in page.sessions:
            try:
                session = await sessions.store.read(info.id)
                if session is None:
                    continue
                result.sessions += 1
                result.migrated += sessions.rehearse(session)
            except (StateError, CorruptSessionError) as error:
                result.failed[info.id] = error
    return result
