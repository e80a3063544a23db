"""Storing sessions from elsewhere as they are, without overwriting newer ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, cast

from botsession.errors import BotSessionError, SessionConflictError, StateError, StoreError, StoreUnavailableError
from botsession.protocol import SessionStore, Step, StoredSession, SupportsCommit, unsupported
from botsession_operations.listing import read_all

Existing = Literal["newer", "skip", "overwrite"]
"""Which of two sessions to keep under one id: the newer one, the one in the store, or the one that comes in."""

Outcome = Literal["stored", "kept"] | BotSessionError
"""Whether a session was stored, the store kept its own, or why neither was possible."""

_ATTEMPTS: Final = 3


class CommittingStore(SessionStore, SupportsCommit, Protocol):
    """A store that supports `commit`."""


def check_commits(store: SessionStore) -> CommittingStore:
    """Return the store if it supports `commit`.

    Raises:
        UnsupportedError: It does not.
    """
    if not isinstance(store, SupportsCommit):
        raise unsupported(store, "commit", "keep sessions from elsewhere as they are")
    return cast("CommittingStore", store)


async def restore_all(store: CommittingStore, sessions: Sequence[StoredSession], existing: Existing) -> list[Outcome]:
    """Store each session completely or not at all, and retry those that somebody else writes at the same time.

    Args:
        store: The open store.
        sessions: At most one for each id.
        existing: Which session to keep where the store already has one.

    Returns:
        The outcome of each session, in order.

    Raises:
        StoreUnavailableError: The backend was lost; sessions stored before that stay.
    """
    outcomes: dict[str, Outcome] = {}
    pending = list(sessions)
    for _ in range(_ATTEMPTS):
        steps: list[Step] = []
        found = await read_all(store, [session.id for session in pending])
        for session, current in zip(pending, found, strict=True):
            if isinstance(current, StoreError):
                outcomes[session.id] = current
            elif _replaces(session, current, existing):
                steps.append(Step.restore(session, current))
            else:
                outcomes[session.id] = "kept"
        conflicts: set[str] = set()
        for step, outcome in zip(steps, await _commit(store, steps), strict=True):
            if isinstance(outcome, StoreUnavailableError):
                raise outcome
            outcomes[step.session_id] = outcome or "stored"
            if isinstance(outcome, SessionConflictError):
                conflicts.add(step.session_id)
        pending = [session for session in pending if session.id in conflicts]
        if not pending:
            break
    return [outcomes[session.id] for session in sessions]


async def _commit(store: CommittingStore, steps: Sequence[Step]) -> list[BotSessionError | None]:
    """Carry out the steps; a session that is not JSON does not fail the others."""
    try:
        return [*await store.commit(steps)] if steps else []
    except StateError as error:
        if len(steps) == 1:
            return [error]
        return [(await _commit(store, [step]))[0] for step in steps]


def _replaces(session: StoredSession, current: StoredSession | None, existing: Existing) -> bool:
    if current is None:
        return True
    if current.version == session.version and current.last_activity == session.last_activity:
        return False
    return existing == "overwrite" or (existing == "newer" and session.last_activity > current.last_activity)
