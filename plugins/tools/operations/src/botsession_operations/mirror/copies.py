"""Copying sessions from the store that leads to the other one.

Each method reads the copy first and the session second, then replaces exactly that copy. If the replacement conflicts,
another writer with newer knowledge came in between, so the method starts over. A newly created copy may arrive after its
session was destroyed; then the method reads again and removes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime
from typing import Final, Protocol

from botsession.errors import SessionConflictError, StoreError, StoreUnavailableError
from botsession.protocol import (
    SessionStore,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
)
from botsession.session import Session, SessionInfo
from botsession_operations.mirror.marks import (
    are_same,
    are_same_write,
    as_copy,
    as_kept_copy,
    is_copy,
    original,
)

ATTEMPTS: Final = 32
"""How often to try a step that conflicts with other writers."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1
"""Bounds of the random pause after a conflict, in seconds."""

_PAUSE: Final = 5.0
"""Seconds for which a new store that did not answer is not called."""

_LONG_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
_logger: Final = logging.getLogger("botsession_operations.mirror")


class MirrorableStore(SessionStore, SupportsExpiry, SupportsReplace, SupportsCommit, SupportsTouch, Protocol):
    """What a mirror needs from a store."""


class Copier:
    """Copies sessions between the two stores.

    Args:
        old: The old store.
        new: The new store.

    Attributes:
        missed: Number of copies to the new store that failed while the old one led.
    """

    def __init__(self, old: MirrorableStore, new: MirrorableStore) -> None:
        self.missed = 0
        self._old = old
        self._new = new
        self._paused_until = 0.0

    async def try_to_new(self, session_id: str) -> None:
        """Copy a session that the old store leads; log a failure instead of raising it."""
        now = asyncio.get_running_loop().time()
        if now < self._paused_until:
            self.missed += 1
            return
        try:
            await self.to_new(session_id)
        except StoreError as error:
            self.missed += 1
            if isinstance(error, StoreUnavailableError):
                self._paused_until = now + _PAUSE
            _logger.warning("session %r was not copied to the new store: %s", session_id, error)

    async def to_new(self, session_id: str) -> None:
        """Copy a session to the new store, if the old one leads it.

        Raises:
            StoreError: One of the stores failed.
        """
        created: StoredSession | None = None
        for _ in range(ATTEMPTS):
            copy = await self._new.read(session_id)
            session = await self._old.read(session_id)
            if session is None or is_copy(session):
                came_late = are_same_write(copy, created) and not are_same_write(copy, session)
                if copy is not None and is_copy(copy) and came_late:
                    await remove(self._new, copy)
                return
            if are_same(copy, session):
                return
            [outcome] = await self._new.commit([Step.restore(as_copy(session), copy)])
            if outcome is None:
                if copy is not None:
                    return
                created = session
            elif not isinstance(outcome, SessionConflictError):
                raise outcome
        raise SessionConflictError(session_id)

    async def to_old(self, session_id: str) -> bool:
        """Copy a session that the new store leads to the old one.

        Returns:
            Whether the new store still leads it; `False` if the old store has a session that is not a copy.

        Raises:
            StoreError: A store failed, or other writers kept changing the copy. It is never a `SessionConflictError`, since
                the session itself was stored.
        """
        created = False
        for attempt in range(ATTEMPTS):
            copy = await self._old.read(session_id)
            if copy is not None and not is_copy(copy):
                return False
            session = self.resolve(await self._new.read(session_id), copy)
            if session is None:
                came_late = created
                if copy is not None and came_late:
                    await remove(self._old, copy)
                return True
            if are_same(copy, as_kept_copy(session)):
                return True
            [outcome] = await self._old.commit([Step.restore(as_kept_copy(session), copy)])
            if outcome is None:
                if copy is not None:
                    return True
                created = True
            elif not isinstance(outcome, SessionConflictError):
                raise outcome
            await asyncio.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311 - no secret
        raise StoreError(
            f"session {session_id!r} was stored, but other writers kept changing its copy in the old store"
        )

    async def settle(self, session_id: str) -> bool:
        """Turn a copy in the new store into the session that it is a copy of, or remove it if it is an orphan.

        Returns:
            Whether anything was changed.

        Raises:
            StoreError: One of the stores failed.
        """
        copy = await self._new.read(session_id)
        if copy is None or not is_copy(copy):
            return False
        found = await self._old.read(session_id)
        if found is not None and not is_copy(found):
            return False
        if not are_same_write(copy, found):
            return await remove(self._new, copy) is None
        [outcome] = await self._new.commit([Step.restore(original(copy), copy)])
        return outcome is None

    @staticmethod
    def resolve(found: StoredSession | None, kept_copy: StoredSession | None) -> StoredSession | None:
        """Return the session that a record in the new store stands for, or `None` if the record is an orphaned copy.

        Args:
            found: The record in the new store.
            kept_copy: The copy in the old store.
        """
        if found is None or (is_copy(found) and not are_same_write(found, kept_copy)):
            return None
        return original(found)


async def remove(store: SupportsCommit, found: StoredSession | SessionInfo) -> StoreError | None:
    """Remove a session that nobody has touched since it was read, by restoring an expired one over it.

    Returns:
        Why it was not removed, or `None`.
    """
    ended: StoredSession = Session(found.id, {}, None, _LONG_AGO, _LONG_AGO, _LONG_AGO, version=found.version)
    [outcome] = await store.commit([Step.restore(ended, found)])
    return outcome
