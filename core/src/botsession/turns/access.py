"""The calls that turns make to a store, whatever its capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from operator import attrgetter
from typing import Any

from botsession.errors import SessionConflictError
from botsession.lifetime import Lifetime
from botsession.protocol import (
    SessionStore,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
    is_in_process,
)
from botsession.turns.batching import Batcher, carry_out

Read = Callable[[str], Awaitable[StoredSession | None]]


class Replacement(Step, frozen=True, kw_only=True):
    """A step that stores a session in place of the version that was read."""

    expected: str | None
    session: StoredSession


Replace = Callable[[Replacement], Coroutine[Any, Any, None]]


class StoreAccess:
    """Reads and replaces sessions in the shortest way that the store's capabilities allow.

    An in-process store is called directly. Concurrent calls to a store that supports `commit` share round trips. A write is
    always completed, even if its caller is cancelled.

    Args:
        store: The store.
        lifetime: The store's lifetime, or the one that `Sessions` applies to a store without any.
        with_leases: Whether turns hold leases.

    Attributes:
        store: See above.
        lifetime: See above.
        read: Reads a session. A store without a lifetime of its own may return expired ones; see `drop_expired`.
        stamps: Whether the store itself stamps and expires sessions.
    """

    def __init__(self, store: SessionStore, lifetime: Lifetime, *, with_leases: bool) -> None:
        self.store = store
        self.lifetime = lifetime
        self.stamps: bool = isinstance(store, SupportsExpiry)
        self.read: Read = store.read
        self._batchers: list[Batcher[Any, Any]] = []
        self._touching = store if isinstance(store, SupportsTouch) else None
        self._direct: SupportsReplace | None = None
        if is_in_process(store) and isinstance(store, SupportsReplace) and self.stamps:
            self._direct = store
            return
        if isinstance(store, SupportsCommit):
            self.read = reading = Batcher(store.read_many, one=store.read)
            self._batchers.append(reading)
        self._complete = self._choose_completion(store, with_leases=with_leases)

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this event loop from now on."""
        for batcher in self._batchers:
            batcher.use_loop(loop)

    def drop_expired(self, stored: StoredSession | None) -> StoredSession | None:
        """Return a session that was read, or `None` if the store did not notice that it has expired."""
        if stored is None or self.stamps:
            return stored
        if self.lifetime.expired(stored.expires_at):
            return None
        return copy(stored)  # a simple store may return the object that it keeps

    async def read_live(self, session_id: str) -> StoredSession | None:
        """Read a session; return `None` if it is absent or expired."""
        return self.drop_expired(await self.read(session_id))

    async def replace(
        self, session: StoredSession, expected: str | None, holder: str | None = None
    ) -> asyncio.CancelledError | None:
        """Store a session in place of the version that was read, even if the caller is cancelled.

        Args:
            session: What to store.
            expected: The version that was read; `None` if the session was absent.
            holder: Who holds the session's lease and gives it up.

        Returns:
            The cancellation that arrived in the meantime, for the caller to raise.

        Raises:
            SessionConflictError: Another version is stored, or the lease was lost.
        """
        if self._direct is not None:
            await self._direct.replace(session.id, session, expected=expected)
            return None
        if not self.stamps:
            self.lifetime.stamp(session)
        return await self._complete(
            Replacement(session_id=session.id, expected=expected, session=session, holder=holder)
        )

    async def renew(self, session: StoredSession) -> bool:
        """Move the deadline of a session that was read; return whether the session is still there."""
        now = self.lifetime.now()
        if self._touching is not None:
            deadline = self.lifetime.deadline(session, now)
            if not await self._touching.touch(session.id, deadline):
                return False
            session.expires_at, session.last_activity = deadline, now
            return True
        try:
            cancelled = await self.replace(session, session.version)
        except SessionConflictError:
            return False
        if cancelled is not None:
            raise cancelled
        return True

    async def remove(self, session_id: str, expected: str | None, holder: str | None) -> bool:
        """Remove the version of a session that a turn has read.

        Args:
            session_id: The session.
            expected: The version that was read; `None` if the session was absent.
            holder: Who holds the session's lease and gives it up.

        Returns:
            Whether the lease was given up.

        Raises:
            SessionConflictError: Another version is stored; it was not removed.
        """
        if expected is not None and isinstance(self.store, SupportsCommit):
            [error] = await self.store.commit([Step.remove(session_id, expected, holder)])
            if error is None:
                return True
            if not isinstance(error, SessionConflictError):
                raise error
        current = self.drop_expired(await self.store.read(session_id))
        if current is None:
            return False
        if expected is None or current.version != expected or isinstance(self.store, SupportsCommit):
            raise SessionConflictError(
                session_id,
                f"session {session_id!r} was not destroyed: another writer stored it or took it over since this turn began",
            )
        await self.store.destroy(session_id)
        return False

    def _choose_completion(
        self, store: SessionStore, *, with_leases: bool
    ) -> Callable[[Replacement], Awaitable[asyncio.CancelledError | None]]:
        """Return how to store a session so that a cancellation does not interrupt it."""
        one: Replace = self._compare_and_write
        if isinstance(store, SupportsReplace):
            one = _with_replace(store) if self.stamps else self._replace_expired(store)
            if isinstance(store, SupportsCommit) and (self.stamps or with_leases):
                batcher: Batcher[Replacement, None] = Batcher(
                    store.commit, one=None if with_leases else one, session_id=attrgetter("session_id")
                )
                self._batchers.append(batcher)
                return batcher.carry_out
        return lambda step: carry_out(one(step))

    def _replace_expired(self, store: SupportsReplace) -> Replace:
        """Return how to replace a session in a store that does not know that a session has expired."""

        async def replace(step: Replacement) -> None:
            expected = step.expected
            if expected is None:
                stored = await self.store.read(step.session_id)
                if stored is not None and self.lifetime.expired(stored.expires_at):
                    expected = stored.version
            await store.replace(step.session_id, step.session, expected=expected)

        return replace

    async def _compare_and_write(self, step: Replacement) -> None:
        current = await self.read_live(step.session_id)
        if (None if current is None else current.version) != step.expected:
            raise SessionConflictError(step.session_id)
        await self.store.write(step.session_id, step.session)


def _with_replace(store: SupportsReplace) -> Replace:
    return lambda step: store.replace(step.session_id, step.session, expected=step.expected)
