"""A rehearsal of migrations: what they would make of every session of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botsession.errors import CorruptSessionError, StateError
from botsession.sessions import Sessions
from botsession_operations.listing import pages


@dataclass(slots=True)
class Rehearsal:
    """What a rehearsal has found.

    Attributes:
        sessions: How many sessions were read, failed ones included.
        migrated: How many of them have an older shape, and were taken to today's without a failure.
        failed: Why a session could not be read, by its id: a migration failed, the state does not fit the type, or what is
            stored is no session.
    """

    sessions: int = 0
    migrated: int = 0
    failed: dict[str, StateError | CorruptSessionError] = field(default_factory=dict)


async def rehearse(sessions: Sessions[Any], prefix: str = "") -> Rehearsal:
    """Reads every session as a turn would, with the migrations and the type of `sessions`, and changes nothing.

    Run it before a bot with new `migrations`, or with another `state_type`, meets its users.

    Args:
        sessions: As the bot makes them, with an open store.
        prefix: How the ids begin.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreUnavailableError: The backend does not answer.
    """
    found = Rehearsal()
    async for page in pages(sessions.store, prefix):
        for error in page.unreadable:
            found.sessions += 1
            found.failed[error.session_id] = error
        for info in page.sessions:
            try:
                session = await sessions.store.read(info.id)
                if session is None:
                    continue
                found.sessions += 1
                found.migrated += sessions.rehearse(session)
            except (StateError, CorruptSessionError) as error:
                found.failed[info.id] = error
    return found
