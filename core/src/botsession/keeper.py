"""Reading, saving and renewing of sessions in a store, whatever its powers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from botsession.errors import SessionConflictError, SessionTooLargeError, StateError
from botsession.gathering import Gathering
from botsession.protocol import (
    Replacement,
    SessionStore,
    StoredSession,
    SupportsBulk,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
)
from botsession.session import Session, StateT

if TYPE_CHECKING:
    import asyncio

    from botsession.leasing import Hold, Leasing
    from botsession.lifetime import Lifetime
    from botsession.shapes import Shape, Snapshot

Reading = Callable[[str], Awaitable[StoredSession | None]]
Replacing = Callable[[Replacement], Awaitable[None]]

RENEW_AFTER: Final = 0.05
"""The part of a session's lifetime that must have passed before an unchanged turn renews its deadline."""

RENEW_BEFORE: Final = 0.5
"""The part of a session's lifetime that a turn has at least, from its beginning on."""


class Beginning(msgspec.Struct, Generic[StateT], frozen=True):
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
    hold: Hold | None


class Keeper(Generic[StateT]):
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
        shape: Shape[StateT],
        *,
        max_session_size: int,
        leasing: Leasing | None,
    ) -> None:
        self._store = store
        self._lifetime = lifetime
        self._stamps = isinstance(store, SupportsExpiry)
        self._reading: Reading = store.read
        self._replacing: Replacing | None = None
        self._gatherings: list[Gathering[Any, Any]] = []
        if isinstance(store, SupportsReplace):
            self._replacing = _one_by_one(store)
            if isinstance(store, SupportsBulk):
                reading = Gathering(store.read, store.read_many)
                alone = self._replacing if leasing is None else _alone(store)
                replacing = Gathering(alone, store.replace_many, session_id=attrgetter("session.id"))
                self._reading, self._replacing = reading, replacing
                self._gatherings = [reading, replacing]
        self._touching = store if isinstance(store, SupportsTouch) else None
        self._shape = shape
        self._max_session_size = max_session_size
        self._leasing = leasing

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
        """Removes the session."""
        await self._store.destroy(session_id)

    async def begin(self, session_id: str) -> Beginning[StateT]:
        """Waits for the session's lease, where there are leases, and returns what a turn begins with."""
        hold: Hold | None = None
        if self._leasing is None:
            stored = await self._reading(session_id)
        else:
            stored, hold = await self._leasing.take(session_id)
        try:
            stored = self._live(stored)
            if stored is not None and self._is_due(stored, RENEW_BEFORE) and not await self._renew(stored):
                stored = self._live(await self._reading(session_id))
            return self._beginning(session_id, stored, hold)
        except BaseException as error:
            if hold is not None:
                await hold.abandon(error)
            raise

    async def end(self, beginning: Beginning[StateT]) -> None:
        """Saves what a turn has changed, or renews the deadline of what it has not, and gives up the lease."""
        session, expected, hold = beginning.session, beginning.expected, beginning.hold
        try:
            if _fixed(session) != beginning.fixed:
                _refuse_change(session, beginning.fixed)
            after = self._shape.snapshot(session)
            if after.differs(beginning.before):
                await self._save(session, expected, after, None if hold is None else hold.holder)
                if hold is not None:
                    hold.forget()
                return
            if expected is not None and self._is_due(session, 1 - RENEW_AFTER):
                stored = self._shape.for_store(session, after)
                await self._renew(stored)
                _take_stamp(session, stored)
        except BaseException as error:
            await self.abandon(beginning, error)
            raise
        if hold is not None:
            hold.leave()

    async def settle(self, *, whole: bool) -> None:
        """Waits until the leases that turns have left are given up, and (`whole`) gives up those of running turns."""
        if self._leasing is not None:
            await self._leasing.settle()
            if whole:
                await self._leasing.give_up()

    async def abandon(self, beginning: Beginning[StateT], error: BaseException | None) -> None:
        """Gives up the lease of a turn that saves nothing, because of an error or because it was destroyed."""
        if beginning.hold is not None:
            await beginning.hold.abandon(error)

    def _beginning(self, session_id: str, stored: StoredSession | None, hold: Hold | None) -> Beginning[StateT]:
        if stored is None:
            session, before = self._shape.begin_new(session_id)
            session.created_at = session.last_activity = self._lifetime.now()
            return Beginning(session, _fixed(session), None, before, hold)
        session, before = self._shape.begin(stored)
        return Beginning(session, _fixed(session), stored.version, before, hold)

    def _live(self, stored: StoredSession | None) -> StoredSession | None:
        if stored is None or (not self._stamps and self._lifetime.expired(stored.expires_at)):
            return None
        return stored

    async def _save(
        self, session: Session[Any], expected: str | None, snapshot: Snapshot, holder: str | None = None
    ) -> None:
        stored = self._shape.for_store(session, snapshot)
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
            await self._store_as_it_is(stored, expected, holder)
        finally:
            stored._json = None
        _take_stamp(session, stored)

    async def _store_as_it_is(self, stored: StoredSession, expected: str | None, holder: str | None = None) -> None:
        if not self._stamps:
            self._lifetime.stamp(stored)
        if self._replacing is not None:
            await self._replacing(Replacement(stored, expected, holder))
            return
        current = self._live(await self._reading(stored.id))
        if (None if current is None else current.version) != expected:
            raise SessionConflictError(stored.id)
        await self._store.write(stored.id, stored)

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
        try:
            await self._store_as_it_is(session, session.version)
        except SessionConflictError:
            return False
        return True


def _fixed(session: Session[Any]) -> tuple[object, ...]:
    return session.id, session.created_at, session.shape


def _take_stamp(session: Session[Any], stored: StoredSession) -> None:
    """Gives the bot's session what the store has set."""
    if stored is not session:
        session.version, session.created_at = stored.version, stored.created_at
        session.last_activity, session.expires_at = stored.last_activity, stored.expires_at


def _refuse_change(session: Session[Any], fixed: tuple[object, ...]) -> None:
    for name, before, now in zip(("id", "created_at", "shape"), fixed, _fixed(session), strict=True):
        if now != before:
            raise StateError(
                f"$.{name}", "it is the store's; a bot changes state, user and expires_in, and nothing was saved"
            )


def _one_by_one(store: SupportsReplace) -> Replacing:
    return lambda entry: store.replace(entry.session.id, entry.session, expected=entry.expected)


def _alone(store: SupportsBulk) -> Replacing:
    """Returns how a store replaces one session whose lease is held."""

    async def replace(entry: Replacement) -> None:
        [error] = await store.replace_many([entry])
        if error is not None:
            raise error

    return replace
