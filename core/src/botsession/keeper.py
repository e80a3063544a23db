"""Reading, saving and renewing of sessions in a store, whatever its powers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, cast

import msgspec

from botsession import states
from botsession.errors import ConfigError, SessionConflictError, StateError
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
    from botsession.lifetime import Lifetime

Reading = Callable[[str], Awaitable[StoredSession | None]]
Replacing = Callable[[Replacement], Awaitable[None]]

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a state of an older shape and returns it in the next one."""

RENEW_AFTER: Final = 0.05
"""The part of a session's lifetime that must have passed before an unchanged turn renews its deadline."""

RENEW_BEFORE: Final = 0.5
"""The part of a session's lifetime that a turn has at least, from its beginning on."""

_encoder: Final = msgspec.json.Encoder()


class Keeper(Generic[StateT]):
    """Keeps the sessions of a bot in a store.

    Args:
        store: The store.
        lifetime: The store's, or the one that holds for a store which has none.
        initial_state: The state of a new session; `None` for the default of the type.
        state_type: What a state is; `None` for a plain JSON object.
        migrations: What takes a stored state from each older shape to the next.

    Raises:
        ConfigError: The type has no default, and no initial state was given.
        StateError: The initial state is no JSON object, or does not fit the type.
    """

    def __init__(
        self,
        store: SessionStore,
        lifetime: Lifetime,
        initial_state: StateT | Mapping[str, Any] | None,
        state_type: type[StateT] | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        self._store = store
        self._lifetime = lifetime
        self._stamps = isinstance(store, SupportsExpiry)
        self._reading: Reading = store.read
        self._replacing: Replacing | None = None
        if isinstance(store, SupportsReplace):
            one = store.replace
            self._replacing = lambda entry: one(entry.session.id, entry.session, expected=entry.expected)
            if isinstance(store, SupportsBulk):
                self._reading = Gathering(store.read, store.read_many)
                self._replacing = Gathering(self._replacing, store.replace_many)
        self._touching = store if isinstance(store, SupportsTouch) else None
        self._state_type = state_type
        self._migrations = tuple(migrations)
        self._initial = _initial_json(initial_state, state_type)

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return states.from_json(msgspec.json.decode(self._initial), self._state_type)

    async def read(self, session_id: str) -> Session[StateT] | None:
        """Returns the session as the bot wants it; `None` where it is absent or expired."""
        stored = await self._load(session_id)
        return None if stored is None else self._for_bot(stored)

    async def destroy(self, session_id: str) -> None:
        """Removes the session."""
        await self._store.destroy(session_id)

    async def begin(self, session_id: str) -> tuple[Session[StateT], str | None]:
        """Returns the session a turn begins with, and the version under which it is stored."""
        stored = await self._load(session_id)
        if stored is not None and self._is_due(stored, RENEW_BEFORE) and not await self._renew(stored):
            stored = await self._load(session_id)
        if stored is not None:
            return self._for_bot(stored), stored.version
        now = self._lifetime.now()
        shape = len(self._migrations)
        return Session(session_id, self.initial_state(), created_at=now, last_activity=now, shape=shape), None

    async def end(self, session: Session[StateT], expected: str | None, before: bytes) -> None:
        """Saves what a turn has changed, or renews the deadline of what it has not."""
        if self.snapshot(session) != before:
            await self._save(session, expected)
        elif expected is not None and self._is_due(session, 1 - RENEW_AFTER):
            await self._renew(session)

    async def _load(self, session_id: str) -> StoredSession | None:
        stored = await self._reading(session_id)
        return None if stored is None or self._lifetime.expired(stored.expires_at) else stored

    async def _save(self, session: Session[StateT], expected: str | None) -> None:
        stored = self._for_store(session)
        if not self._stamps:
            _check(stored)
            self._lifetime.stamp(stored)
        if self._replacing is not None:
            await self._replacing(Replacement(stored, expected))
        else:
            current = await self._load(session.id)
            if (None if current is None else current.version) != expected:
                raise SessionConflictError(session.id)
            await self._store.write(session.id, stored)
        if stored is not session:
            session.version, session.created_at = stored.version, stored.created_at
            session.last_activity, session.expires_at = stored.last_activity, stored.expires_at

    def _is_due(self, session: Session[Any], share: float) -> bool:
        """Tells whether less than that share of the session's lifetime is left."""
        now = self._lifetime.now()
        deadline = self._lifetime.deadline(session, now)
        if deadline is None or deadline == session.expires_at:
            return False
        return session.expires_at is None or session.expires_at - now < (deadline - now) * share

    async def _renew(self, session: Session[Any]) -> bool:
        """Moves the session's deadline; returns whether it is still there."""
        now = self._lifetime.now()
        deadline = self._lifetime.deadline(session, now)
        if self._touching is not None:
            if not await self._touching.touch(session.id, deadline):
                return False
            session.expires_at, session.last_activity = deadline, now
            return True
        try:
            await self._save(session, session.version)
        except SessionConflictError:
            return False
        return True

    def snapshot(self, session: Session[StateT]) -> bytes:
        """Returns what a turn can change, as JSON, to compare it with what was before."""
        try:
            return _encoder.encode((session.state, session.user, str(session.expires_in)))
        except (TypeError, ValueError, RecursionError):
            _check(self._for_store(session))
            raise

    def _for_bot(self, stored: StoredSession) -> Session[StateT]:
        """Returns a stored session with its state as the bot wants it."""
        if stored.shape != len(self._migrations):
            stored.state = _migrated(stored, self._migrations)
            stored.shape = len(self._migrations)
        if self._state_type is None:
            return cast("Session[StateT]", stored)
        return _with_state(stored, states.from_json(stored.state, self._state_type))

    def _for_store(self, session: Session[StateT]) -> StoredSession:
        """Returns a session with its state as a store wants it."""
        if self._state_type is None:
            return cast("StoredSession", session)
        state = states.to_json(session.state)
        states.from_json(state, self._state_type)
        return _with_state(session, state)


def _with_state(session: Session[Any], state: Any) -> Session[Any]:
    return Session(
        session.id,
        state,
        session.user,
        session.created_at,
        session.last_activity,
        session.expires_at,
        session.expires_in,
        session.version,
        session.shape,
    )


def _migrated(session: StoredSession, migrations: tuple[Migration, ...]) -> dict[str, Any]:
    """Returns the state in today's shape.

    Raises:
        StateError: A migration failed, or the state was stored by a bot with more migrations.
    """
    if session.shape > len(migrations):
        raise StateError(
            "$.state",
            f"session {session.id!r} has been through {session.shape} migrations and this bot has {len(migrations)}; "
            "it was stored by a newer one",
        )
    state = session.state
    for migration in migrations[session.shape :]:
        name = getattr(migration, "__name__", repr(migration))
        try:
            state = migration(state)
        except Exception as error:
            reason = f"the migration {name} of session {session.id!r} failed: {type(error).__name__}: {error}"
            raise StateError("$.state", reason) from error
        if type(state) is not dict:
            raise StateError("$.state", f"the migration {name} returned {type(state).__name__}, and not the new state")
    return state


def _check(session: StoredSession) -> None:
    """Raises `StateError` where state or user hold what JSON cannot hold."""
    states.encode(states.to_json(session.state))
    states.encode(session.user, "$.user")


def _initial_json(initial_state: object, state_type: type | None) -> bytes:
    """Returns the initial state as JSON, checked."""
    if initial_state is None:
        try:
            initial_state = {} if state_type is None else state_type()
        except TypeError as error:
            raise ConfigError(f"{state_type} has fields without a default: give an initial_state") from error
    state = states.to_json(dict(initial_state) if isinstance(initial_state, Mapping) else initial_state)
    encoded = states.encode(state, "initial_state")
    states.from_json(state, state_type)
    return encoded
