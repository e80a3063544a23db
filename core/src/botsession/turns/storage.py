"""What a turn does with the store: load a session, save it or renew its deadline, and give up its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final, Generic

import msgspec

from botsession.errors import SessionConflictError, SessionTooLargeError, StateError
from botsession.protocol import StoredSession
from botsession.session import Session, StateT, was_assigned
from botsession.states.state_type import Snapshot, StateType
from botsession.turns.access import StoreAccess
from botsession.turns.leases import HeldLease, LeaseManager

RENEW_AFTER: Final = 0.05
"""The share of a session's lifetime that must have passed before an unchanged turn renews its deadline."""

RENEW_BEFORE: Final = 0.5
"""The share of a session's lifetime that is left, at least, when the handler of a turn starts."""


class Loaded(msgspec.Struct, Generic[StateT], frozen=True):
    """A session as a turn has loaded it.

    Attributes:
        session: The session, for the bot to change.
        fixed: What the bot must not change in it.
        expected: The version that is stored; `None` if the session is new.
        before: What the bot can change in it, as it was.
        lease: The session's lease, if turns hold leases.
    """

    session: Session[StateT]
    fixed: tuple[object, ...]
    expected: str | None
    before: Snapshot
    lease: HeldLease | None


class TurnStorage(Generic[StateT]):
    """Loads and saves the sessions of turns.

    Args:
        access: The calls to the store.
        state_type: What a state is for the bot.
        max_session_size: How many bytes of JSON a session may have.
        leases: The leases that turns hold; `None` if they hold none.

    Attributes:
        access: See above.
        state_type: See above.
        max_session_size: See above.
        leases: See above.
    """

    def __init__(
        self, access: StoreAccess, state_type: StateType[StateT], *, max_session_size: int, leases: LeaseManager | None
    ) -> None:
        self.access = access
        self.state_type = state_type
        self.max_session_size = max_session_size
        self.leases = leases

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this event loop from now on."""
        self.access.use_loop(loop)
        if self.leases is not None:
            self.leases.use_loop(loop)

    async def read(self, session_id: str) -> Session[StateT] | None:
        """Return the session with its state as the bot wants it; `None` if it is absent or expired."""
        stored = await self.access.read_live(session_id)
        return None if stored is None else self.state_type.for_bot(stored)

    async def load(self, session_id: str, deadline: float) -> Loaded[StateT]:
        """Wait for the session's lease, if turns hold leases, and load the session.

        Args:
            session_id: The session.
            deadline: How long to wait, by `time.monotonic`.
        """
        lease: HeldLease | None = None
        if self.leases is None:
            stored = await self.access.read(session_id)
        else:
            stored, lease = await self.leases.take(session_id, deadline)
        try:
            if not self.access.stamps:
                stored = self.access.drop_expired(stored)
            if (
                stored is not None
                and self.access.lifetime.is_due(stored, RENEW_BEFORE)
                and not await self.access.renew(stored)
            ):
                stored = await self.access.read_live(session_id)  # it was replaced or removed in between
            return self._loaded(session_id, stored, lease)
        except BaseException as error:
            if lease is not None:
                await lease.abandon(error)
            raise

    async def save(self, loaded: Loaded[StateT], cancelled: asyncio.CancelledError | None) -> None:
        """Save what the bot has changed, or renew the deadline if it has changed nothing, and give up the lease.

        Args:
            loaded: What was loaded.
            cancelled: The cancellation of the task since its handler ended.

        Raises:
            CancelledError: The task was cancelled before or during the call; the turn is saved.
        """
        session, lease = loaded.session, loaded.lease
        try:
            if _fixed(session) != loaded.fixed:
                _refuse_change(session, loaded.fixed)
            after = self.state_type.snapshot(session)
            if after.differs(loaded.before):
                late = await self._write(session, loaded.expected, after, None if lease is None else lease.holder)
                cancelled = cancelled or late
                if lease is not None:
                    lease.forget()
            else:
                if loaded.expected is not None and self.access.lifetime.is_due(session, 1 - RENEW_AFTER):
                    stored = self.state_type.for_store(session, after)
                    try:
                        await self.access.renew(stored)
                    except asyncio.CancelledError as error:  # there is nothing else to save
                        cancelled = error
                    _take_stamp(session, stored)
                if lease is not None:
                    lease.leave()
        except BaseException as error:
            with suppress(asyncio.CancelledError):  # nothing was saved, and the error says why
                await self.abandon(loaded, error)
            raise
        if cancelled is not None:
            cancelled.add_note(f"The turn of session {session.id!r} is saved: it ended before its task was cancelled.")
            raise cancelled

    async def abandon(self, loaded: Loaded[StateT], error: BaseException | None) -> None:
        """Give up the lease of a turn that saves nothing, because of an error or because its session was destroyed."""
        if loaded.lease is not None:
            await loaded.lease.abandon(error)

    def look(self, loaded: Loaded[StateT]) -> Snapshot | None:
        """Return what the bot can change, as it is now; `None` if it could not be saved."""
        try:
            return self.state_type.snapshot(loaded.session)
        except StateError:
            return None

    def end_destroyed(self, loaded: Loaded[StateT], destroyed: Snapshot | None) -> None:
        """Give up the lease of a turn whose session was destroyed while it ran.

        Args:
            loaded: What was loaded.
            destroyed: What the session was when it was destroyed.

        Raises:
            SessionConflictError: The bot changed the session afterwards.
        """
        if loaded.lease is not None:
            loaded.lease.leave()
        now = self.look(loaded)
        is_changed = now is not destroyed and (now is None or destroyed is None or now.differs(destroyed))
        if is_changed or was_assigned(loaded.session):
            session_id = loaded.session.id
            raise SessionConflictError(
                session_id,
                f"session {session_id!r} was destroyed during its turn, which changed it afterwards; nothing was saved",
                remedy="Fill the session in another turn.",
            )

    async def remove(self, loaded: Loaded[StateT]) -> None:
        """Remove the session that a turn has loaded, and give up its lease.

        Raises:
            SessionConflictError: Another writer has stored the session since; it was not removed.
        """
        lease = loaded.lease
        holder = None if lease is None else lease.holder
        if await self.access.remove(loaded.session.id, loaded.expected, holder) and lease is not None:
            lease.end()

    async def settle(self, *, close: bool) -> None:
        """Wait until the leases of turns that have ended are given up, and with `close` give up those of running turns."""
        if self.leases is not None:
            await self.leases.settle(close=close)

    def _loaded(self, session_id: str, stored: StoredSession | None, lease: HeldLease | None) -> Loaded[StateT]:
        if stored is None:
            expected = None
            session, before = self.state_type.create(session_id)
            session.created_at = session.last_activity = self.access.lifetime.now()
        else:
            expected = stored.version
            session, before = self.state_type.load(stored)
        session._lease = lease
        return Loaded(session, _fixed(session), expected, before, lease)

    async def _write(
        self, session: Session[Any], expected: str | None, after: Snapshot, holder: str | None
    ) -> asyncio.CancelledError | None:
        stored = session if after.stored is None else self.state_type.for_store(session, after)
        if session.expires_in is not msgspec.UNSET:
            # A wrong one is refused here, before it can concern other sessions of the same batch.
            self.access.lifetime.deadline(stored, stored.last_activity)
        size = len(after.state) + len(after.user)
        if size > self.max_session_size:
            raise SessionTooLargeError(
                f"session {session.id!r} has {size:,} bytes of JSON, and at most {self.max_session_size:,} are allowed",
                remedy="Keep less in it, or raise max_session_size.",
            )
        stored._json = after.state, after.user
        try:
            cancelled = await self.access.replace(stored, expected, holder)
        finally:
            stored._json = None
        if stored is not session:
            _take_stamp(session, stored)
        return cancelled


_FIXED: Final = ("id", "created_at", "last_activity", "expires_at", "version", "shape")
_fixed: Final[Callable[[Session[Any]], tuple[object, ...]]] = attrgetter(*_FIXED)


def _take_stamp(session: Session[Any], stored: StoredSession) -> None:
    """Copy what the store has set to the bot's session."""
    session.version, session.created_at = stored.version, stored.created_at
    session.last_activity, session.expires_at = stored.last_activity, stored.expires_at


def _refuse_change(session: Session[Any], fixed: tuple[object, ...]) -> None:
    for name, before, now in zip(_FIXED, fixed, _fixed(session), strict=True):
        if now != before:
            raise StateError(
                f"$.{name}",
                "the store sets it, and the turn changed it; nothing was saved",
                remedy="Change only state, user and expires_in.",
            )
