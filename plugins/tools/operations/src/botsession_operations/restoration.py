"""Sessions from elsewhere into a store, as they are, over nothing newer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, cast

from botsession.errors import (
    BotSessionError,
    SessionConflictError,
    StateError,
    StoreError,
    StoreUnavailableError,
)
from botsession.protocol import (
    SessionStore,
    Step,
    StoredSession,
    SupportsCommit,
    unsupported,
)
from botsession_operations.exports import read_all

Present = Literal["newer", "skip", "overwrite"]
"""What to do with a session that the store has already: take the newer one, keep the store's, or take the other."""

Outcome = Literal["stored", "kept"] | BotSessionError
"""What became of a session: it was stored, or the store kept its own, or why neither."""

_ATTEMPTS: Final = 3


class Restoring(SessionStore, SupportsCommit, Protocol):
    """A store that keeps sessions from elsewhere as they are."""


def check_restores(store: SessionStore) -> Restoring:
    """Returns the store as one with the capability `restore`.

    Raises:
        UnsupportedError: It lacks the capability.
    """
    if not isinstance(store, SupportsCommit):
        raise unsupported(store, "commit", "keep sessions from elsewhere as they are")
    return cast("Restoring", store)


async def restore_all(store: Restoring, sessions: Sequence[StoredSession], present: Present) -> list[Outcome]:
    """Stores sessions, each whole or not at all; one that somebody else writes meanwhile is looked at again.

    Args:
        store: The store, open.
        sessions: At most one for each id.
        present: What to do with those that the store has already.

    Returns:
        For each session what became of it.

    Raises:
        StoreUnavailableError: The backend was lost; what was stored before stays.
    """
    outcomes: dict[str, Outcome] = {}
    waiting = list(sessions)
    for _ in range(_ATTEMPTS):
        chosen: list[Step] = []
        found = await read_all(store, [session.id for session in waiting])
        for session, there in zip(waiting, found, strict=True):
            if isinstance(there, StoreError):
                outcomes[session.id] = there
            elif _is_wanted(session, there, present):
                chosen.append(Step.restore(session, there))
            else:
                outcomes[session.id] = "kept"
        conflicts: set[str] = set()
        for step, outcome in zip(chosen, await _restore_many(store, chosen), strict=True):
            if isinstance(outcome, StoreUnavailableError):
                raise outcome
            outcomes[step.session_id] = outcome or "stored"
            if isinstance(outcome, SessionConflictError):
                conflicts.add(step.session_id)
        waiting = [session for session in waiting if session.id in conflicts]
        if not waiting:
            break
    return [outcomes[session.id] for session in sessions]


async def _restore_many(store: Restoring, chosen: Sequence[Step]) -> list[BotSessionError | None]:
    """Restores sessions; one that holds what JSON cannot hold does not hinder the others."""
    try:
        return [*await store.commit(chosen)] if chosen else []
    except StateError as error:
        if len(chosen) == 1:
            return [error]
        return [(await _restore_many(store, [restoration]))[0] for restoration in chosen]


def _is_wanted(session: StoredSession, there: StoredSession | None, present: Present) -> bool:
    if there is None:
        return True
    if there.version == session.version and there.last_activity == session.last_activity:
        return False
    return present == "overwrite" or (present == "newer" and session.last_activity > there.last_activity)
