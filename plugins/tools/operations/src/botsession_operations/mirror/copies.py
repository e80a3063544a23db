"""Copies of sessions from the store that leads into the other one.

Each looks at the copy first and at the session afterwards, and stores the session over that copy and nothing else. So
whatever is in the way was put there later by somebody who knew more, and then it looks again. A copy that is put where
nothing was may come late, after the session was destroyed; so it looks again, too, and takes it back.
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
    copied,
    is_copy,
    kept,
    original,
)

ATTEMPTS: Final = 32
"""How often a step is tried that others undo meanwhile."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1
"""Seconds, at random up to which one rests whom others have forestalled."""

_REST: Final = 5.0
"""Seconds for which a new store that did not answer is left alone."""

_LONG_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
_logger: Final = logging.getLogger("botsession_operations.mirror")


class Whole(SessionStore, SupportsExpiry, SupportsReplace, SupportsCommit, SupportsTouch, Protocol):
    """What a mirror needs of a store."""


class Copying:
    """Copies of sessions.

    Args:
        old: The old store.
        new: The new store.

    Attributes:
        missed: How many copies into the new store failed, while the old one led.
    """

    def __init__(self, old: Whole, new: Whole) -> None:
        self.missed: int = 0
        self._old = old
        self._new = new
        self._rests_until = 0.0

    async def try_to_new(self, session_id: str) -> None:
        """Copies a session that the old store leads; if that fails, it is told in the log, and nobody has to wait."""
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            self.missed += 1
            return
        try:
            await self.to_new(session_id)
        except StoreError as error:
            self.missed += 1
            if isinstance(error, StoreUnavailableError):
                self._rests_until = now + _REST
            _logger.warning("session %r is not in the new store as it is in the old one: %s", session_id, error)

    async def to_new(self, session_id: str) -> None:
        """Makes the new store hold a copy of a session, as long as the old one leads it.

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
            [outcome] = await self._new.commit([Step.restore(copied(session), copy)])
            if outcome is None:
                if copy is not None:
                    return
                created = session
            elif not isinstance(outcome, SessionConflictError):
                raise outcome
        raise SessionConflictError(session_id)

    async def to_old(self, session_id: str) -> bool:
        """Makes the old store hold a copy of a session that the new store leads.

        Returns:
            Whether the new store leads it still; `False` where the old one holds a session that is no copy.

        Raises:
            StoreError: One of the stores failed, or others changed the copy all the time. It is never a
                `SessionConflictError`: what is to be copied was stored.
        """
        created = False
        for attempt in range(ATTEMPTS):
            copy = await self._old.read(session_id)
            if copy is not None and not is_copy(copy):
                return False
            session = self.counts(await self._new.read(session_id), copy)
            if session is None:
                came_late = created
                if copy is not None and came_late:
                    await remove(self._old, copy)
                return True
            if are_same(copy, kept(session)):
                return True
            [outcome] = await self._old.commit([Step.restore(kept(session), copy)])
            if outcome is None:
                if copy is not None:
                    return True
                created = True
            elif not isinstance(outcome, SessionConflictError):
                raise outcome
            await asyncio.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311 - no secret
        raise StoreError(
            f"session {session_id!r} was stored, but others changed its copy in the old store all the time"
        )

    async def settle(self, session_id: str) -> bool:
        """Ends a copy in the new store: it becomes the session that it is, or goes where it is nobody's.

        Returns:
            Whether something was changed.

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
    def counts(found: StoredSession | None, kept_copy: StoredSession | None) -> StoredSession | None:
        """Returns the session that a record in the new store is, or `None` where it is nobody's copy.

        Args:
            found: What the new store holds.
            kept_copy: The copy that the old store holds.
        """
        if found is None or (is_copy(found) and not are_same_write(found, kept_copy)):
            return None
        return original(found)


async def remove(store: SupportsCommit, found: StoredSession | SessionInfo) -> StoreError | None:
    """Removes a session if it is untouched since it was found: one that ended long ago is restored over it.

    Returns:
        Why it is still there, or `None`.
    """
    ended: StoredSession = Session(found.id, {}, None, _LONG_AGO, _LONG_AGO, _LONG_AGO, version=found.version)
    [outcome] = await store.commit([Step.restore(ended, found)])
    return outcome
