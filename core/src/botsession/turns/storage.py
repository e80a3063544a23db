"""Reading, saving and renewing of sessions in a store, whatever its capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from copy import copy
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from botsession.errors import SessionConflictError, SessionTooLargeError, StateError
from botsession.protocol import (
    SessionStore,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
)
from botsession.session import Session, StateT, was_assigned
from botsession.turns.batching import Batcher, carry_out, never_waits

if TYPE_CHECKING:
    from botsession.lifetime import Lifetime
    from botsession.states.state_type import Snapshot, StateType
    from botsession.turns.leases import HeldLease, LeaseManager

Reading = Callable[[str], Awaitable[StoredSession | None]]
Replacing = Callable[[Step], Awaitable[asyncio.CancelledError | None]]
"""Stores a session, also where its caller is cancelled, and returns the cancellation."""

RENEW_AFTER: Final = 0.05
"""The part of a session's lifetime that must have passed before an unchanged turn renews its deadline."""

RENEW_BEFORE: Final = 0.5
"""The part of a session's lifetime that a turn has at least, from its beginning on."""


class Loaded(msgspec.Struct, Generic[StateT], frozen=True):
    """What a turn begins with.

    Attributes:
        session: The session, for the bot to change.
        fixed: What of it the bot must not change.
        expected: The version under which it is stored; `None` where it is not.
        before: What a turn can change, to compare it with what is there in the end.
        hold: The turn's hold of the session's lease, where there are leases.
    """

    session: Session[StateT]
    fixed: tuple[object, ...]
    expected: str | None
    before: Snapshot
    hold: HeldLease | None


class TurnStorage(Generic[StateT]):
    """Keeps the sessions of a bot in a store.

    Args:
        store: The store.
        lifetime: The store's, or the one that holds for a store which has none.
        shape: What a state is for the bot.
        max_session_size: How many bytes of JSON a session may have.
        leasing: The leases that turns hold, where they do.
    """

    def __init__(
        self,
        store: SessionStore,
        lifetime: Lifetime,
        shape: StateType[StateT],
        *,
        max_session_size: int,
        leasing: LeaseManager | None,
    ) -> None:
        self._store = store
        self._lifetime = lifetime
        self._stamps = isinstance(store, SupportsExpiry)
        self._gatherings: list[Batcher[Any, Any]] = []
        self._reading: Reading = store.read
        if isinstance(store, SupportsCommit) and not never_waits(store.read):
            self._gatherings.append(reading := Batcher(store.read, store.read_many))
            self._reading = reading
        self._replacing = self._choose_replacing(store, with_leases=leasing is not None)
        self._touching = store if isinstance(store, SupportsTouch) else None
        self._shape = shape
        self._max_session_size = max_session_size
        self._leasing = leasing

    def _choose_replacing(self, store: SessionStore, *, with_leases: bool) -> Replacing:
        """Returns the shortest way in which the store replaces a session and that a cancellation does not cut off."""
        if isinstance(store, SupportsReplace) and not self._stamps and not with_leases:
            over_expired = self._over_expired(store)
            return lambda entry: carry_out(over_expired(entry))
        if isinstance(store, SupportsCommit) and isinstance(store, SupportsReplace):
            one, method = (_alone(store), store.commit) if with_leases else (_one_by_one(store), store.replace)
            if never_waits(method):
                return one
            replacing = Batcher(one, store.commit, session_id=attrgetter("session.id"))
            self._gatherings.append(replacing)
            return replacing.carry_out
        replace = _one_by_one(store) if isinstance(store, SupportsReplace) else self._compare_and_write
        return lambda entry: carry_out(replace(entry))

    def begin_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins, or begins anew, in an event loop."""
        for gathering in self._gatherings:
            gathering.begin_in(loop)
        if self._leasing is not None:
            self._leasing.begin_in(loop)

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._shape.initial_state()

    async def read(self, session_id: str) -> Session[StateT] | None:
        """Returns the session as the bot wants it; `None` where it is absent or expired."""
        stored = self._live(await self._reading(session_id))
        if stored is None:
            return None
        return self._shape.for_bot(stored)

    def rehearse(self, stored: StoredSession) -> bool:
        """Makes of a stored session what a turn would begin with; returns whether it has an older shape."""
        is_older = self._shape.is_older(stored)
        self._shape.for_bot(stored)
        return is_older

    async def destroy(self, session_id: str) -> None:
        """Removes the session, whatever it is by now."""
        await self._store.destroy(session_id)

    async def remove(self, beginning: Loaded[StateT]) -> None:
        """Removes the session that a turn has read, and gives up its lease.

        Raises:
            SessionConflictError: Somebody else wrote the session meanwhile; it was not removed.
        """
        session_id, expected, hold = beginning.session.id, beginning.expected, beginning.hold
        if expected is not None and isinstance(self._store, SupportsCommit):
            removal = Step.remove(session_id, expected, None if hold is None else hold.holder)
            [error] = await self._store.commit([removal])
            if error is None:
                if hold is not None:
                    hold.end()
                return
            if not isinstance(error, SessionConflictError):
                raise error
        current = self._live(await self._store.read(session_id))
        if current is None:
            return
        if expected is None or current.version != expected or isinstance(self._store, SupportsCommit):
            raise SessionConflictError(
                session_id,
                f"session {session_id!r} was not destroyed: somebody else wrote it or took it over since this turn began",
            )
        await self._store.destroy(session_id)

    async def begin(self, session_id: str, deadline: float) -> Loaded[StateT]:
        """Waits for the session's lease, where there are leases, and returns what a turn begins with.

        Args:
            session_id: The session.
            deadline: Until when to wait, by `time.monotonic`.
        """
        hold: HeldLease | None = None
        if self._leasing is None:
            stored = await self._reading(session_id)
        else:
            stored, hold = await self._leasing.take(session_id, deadline)
        try:
            if not self._stamps:
                stored = self._live(stored)
            if stored is not None and self._is_due(stored, RENEW_BEFORE) and not await self._renew(stored):
                stored = self._live(await self._reading(session_id))
            return self._beginning(session_id, stored, hold)
        except BaseException as error:
            if hold is not None:
                await hold.abandon(error)
            raise

    async def end(self, beginning: Loaded[StateT], cancelled: asyncio.CancelledError | None) -> None:
        """Saves what a turn has changed, or renews the deadline of what it has not, and gives up the lease.

        Args:
            beginning: What the turn began with.
            cancelled: The cancellation of its task since its end has begun.

        Raises:
            CancelledError: The task was cancelled before or meanwhile; the turn is saved.
        """
        session, expected, hold = beginning.session, beginning.expected, beginning.hold
        try:
            if _fixed(session) != beginning.fixed:
                _refuse_change(session, beginning.fixed)
            after = self._shape.snapshot(session)
            if after.differs(beginning.before):
                late = await self._save(session, expected, after, None if hold is None else hold.holder)
                cancelled = cancelled or late
                if hold is not None:
                    hold.forget()
            else:
                if expected is not None and self._is_due(session, 1 - RENEW_AFTER):
                    stored = self._shape.for_store(session, after)
                    try:
                        await self._renew(stored)
                    except asyncio.CancelledError as error:  # nothing else is to be saved
                        cancelled = error
                    _take_stamp(session, stored)
                if hold is not None:
                    hold.leave()
        except BaseException as error:
            with suppress(asyncio.CancelledError):  # nothing was saved, and the error tells why
                await self.abandon(beginning, error)
            raise
        if cancelled is not None:
            cancelled.add_note(
                f"The turn of session {session.id!r} is saved: it had ended before its task was cancelled."
            )
            raise cancelled

    def look(self, beginning: Loaded[StateT]) -> Snapshot | None:
        """Returns what a turn can change, as it is now; `None` where it is nothing that could be saved."""
        try:
            return self._shape.snapshot(beginning.session)
        except StateError:
            return None

    def end_destroyed(self, beginning: Loaded[StateT], destroyed: Snapshot | None) -> None:
        """Gives up the lease of a turn whose session was destroyed during it.

        Args:
            beginning: What the turn began with.
            destroyed: What it was when it was destroyed.

        Raises:
            SessionConflictError: The turn has changed it afterwards.
        """
        if beginning.hold is not None:
            beginning.hold.leave()
        now = self.look(beginning)
        is_changed = now is not destroyed and (now is None or destroyed is None or now.differs(destroyed))
        if is_changed or was_assigned(beginning.session):
            session_id = beginning.session.id
            raise SessionConflictError(
                session_id,
                f"session {session_id!r} was destroyed during its turn, which changed it afterwards; nothing was saved. "
                "Begin another turn to fill it anew",
            )

    async def settle(self, *, whole: bool) -> None:
        """Waits until the leases that turns have left are given up, and (`whole`) gives up those of running turns."""
        if self._leasing is not None:
            await self._leasing.settle(whole=whole)

    async def abandon(self, beginning: Loaded[StateT], error: BaseException | None) -> None:
        """Gives up the lease of a turn that saves nothing, because of an error or because it was destroyed."""
        if beginning.hold is not None:
            await beginning.hold.abandon(error)

    def _beginning(self, session_id: str, stored: StoredSession | None, hold: HeldLease | None) -> Loaded[StateT]:
        if stored is None:
            session, before = self._shape.begin_new(session_id)
            session.created_at = session.last_activity = self._lifetime.now()
            session._lease = hold
            return Loaded(session, _fixed(session), None, before, hold)
        session, before = self._shape.begin(stored)
        session._lease = hold
        return Loaded(session, _fixed(session), stored.version, before, hold)

    def _live(self, stored: StoredSession | None) -> StoredSession | None:
        if stored is None or self._stamps:
            return stored
        # A store that does not stamp may be a mere dict: it gives and is given copies, since a turn's session is not for keeps.
        return None if self._lifetime.expired(stored.expires_at) else copy(stored)

    async def _save(
        self, session: Session[Any], expected: str | None, snapshot: Snapshot, holder: str | None = None
    ) -> asyncio.CancelledError | None:
        stored = session if snapshot.stored is None else self._shape.for_store(session, snapshot)
        if session.expires_in is not msgspec.UNSET:
            # A wrong one is refused here, where it is no error of those that are saved in the same call.
            self._lifetime.deadline(stored, stored.last_activity)
        size = len(snapshot.state) + len(snapshot.user)
        if size > self._max_session_size:
            raise SessionTooLargeError(
                f"session {session.id!r} has {size:,} bytes of JSON, and {self._max_session_size:,} are allowed; "
                "keep less in it, or raise max_session_size"
            )
        stored._json = snapshot.state, snapshot.user
        try:
            if not self._stamps:
                self._lifetime.stamp(stored)
            cancelled = await self._replacing(Step.replace(stored, expected, holder))
        finally:
            stored._json = None
        if stored is not session:
            _take_stamp(session, stored)
        return cancelled

    def _over_expired(self, store: SupportsReplace) -> Callable[[Step], Coroutine[Any, Any, None]]:
        """Returns how a store replaces one session where it does not know that what it keeps has expired."""

        async def replace(entry: Step) -> None:
            session_id, expected = entry.session.id, entry.expected
            if expected is None:
                stored = await self._store.read(session_id)
                if stored is not None and self._lifetime.expired(stored.expires_at):
                    expected = stored.version
            await store.replace(session_id, entry.session, expected=expected)

        return replace

    async def _compare_and_write(self, entry: Step) -> None:
        current = self._live(await self._reading(entry.session.id))
        if (None if current is None else current.version) != entry.expected:
            raise SessionConflictError(entry.session.id)
        await self._store.write(entry.session.id, entry.session)

    def _is_due(self, session: Session[Any], share: float) -> bool:
        """Tells whether less than that share of the session's lifetime is left."""
        now = self._lifetime.now()
        deadline = self._lifetime.deadline(session, now)
        if deadline is None or deadline == session.expires_at:
            return False
        if session.expires_at is None:
            return True
        return deadline > now and (session.expires_at - now) / (deadline - now) < share

    async def _renew(self, session: StoredSession) -> bool:
        """Moves the deadline of a session as it is stored; returns whether it is still there."""
        now = self._lifetime.now()
        deadline = self._lifetime.deadline(session, now)
        if self._touching is not None:
            if not await self._touching.touch(session.id, deadline):
                return False
            session.expires_at, session.last_activity = deadline, now
            return True
        expected = session.version
        try:
            if not self._stamps:
                self._lifetime.stamp(session)
            cancelled = await self._replacing(Step.replace(session, expected))
        except SessionConflictError:
            return False
        if cancelled is not None:
            raise cancelled
        return True


_FIXED: Final = ("id", "created_at", "last_activity", "expires_at", "version", "shape")
_fixed: Final[Callable[[Session[Any]], tuple[object, ...]]] = attrgetter(*_FIXED)


def _take_stamp(session: Session[Any], stored: StoredSession) -> None:
    """Gives the bot's session what the store has set."""
    session.version, session.created_at = stored.version, stored.created_at
    session.last_activity, session.expires_at = stored.last_activity, stored.expires_at


def _refuse_change(session: Session[Any], fixed: tuple[object, ...]) -> None:
    for name, before, now in zip(_FIXED, fixed, _fixed(session), strict=True):
        if now != before:
            raise StateError(
                f"$.{name}", "it is the store's; a bot changes state, user and expires_in, and nothing was saved"
            )


def _one_by_one(store: SupportsReplace) -> Callable[[Step], Coroutine[Any, Any, None]]:
    return lambda entry: store.replace(entry.session.id, entry.session, expected=entry.expected)


def _alone(store: SupportsCommit) -> Callable[[Step], Coroutine[Any, Any, None]]:
    """Returns how a store replaces one session whose lease is held."""

    async def replace(entry: Step) -> None:
        [error] = await store.commit([entry])
        if error is not None:
            raise error

    return replace
