"""The shape of a state: as a bot works with it, and as a store keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from botsession import states
from botsession.errors import ConfigError, StateError
from botsession.session import InitialState, Session, StateT

if TYPE_CHECKING:
    from botsession.protocol import StoredSession

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a state of an older shape and returns it in the next one."""

_encode: Final = msgspec.json.Encoder().encode
_NO_USER: Final = b"null"


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What a turn can change, as it was at one moment: JSON of state and user, and the session's own lifetime."""

    state: bytes
    user: bytes
    expires_in: object


class Shape(Generic[StateT]):
    """What a state is for a bot.

    Args:
        initial_state: The state of a new session; `None` for the default of the type.
        state_type: What a state is; `None` for a plain JSON object.
        migrations: What takes a stored state from each older shape to the next.

    Raises:
        ConfigError: The type has no default, and no initial state was given.
        StateError: The initial state is no JSON object, or does not fit the type.
    """

    def __init__(
        self,
        initial_state: StateT | Mapping[str, Any] | None,
        state_type: type[StateT] | None,
        migrations: Sequence[Migration],
    ) -> None:
        self._initial = InitialState(_initial_json(initial_state, state_type), state_type)
        self._state_type = state_type
        self._migrations = tuple(migrations)

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._initial()

    def new(self, session_id: str) -> Session[StateT]:
        """Returns a session that was never stored."""
        session = Session(session_id, self._initial(), shape=len(self._migrations))
        session._initial_state = self._initial
        return session

    def is_older(self, stored: StoredSession) -> bool:
        """Tells whether a session was stored before the latest migration."""
        return stored.shape != len(self._migrations)

    def snapshot(self, session: Session[Any]) -> Snapshot:
        """Returns what a turn can change, as it is now.

        Raises:
            StateError: Something in it cannot be encoded as JSON.
        """
        state = getattr(session, "_read", None)
        session._read = None
        try:
            return Snapshot(
                state or _encode(session.state),
                _NO_USER if session.user is None else _encode(session.user),
                session.expires_in,
            )
        except (TypeError, ValueError, RecursionError):
            states.encode(states.to_json(session.state))
            states.encode_user(session.user)
            raise

    def for_bot(self, stored: StoredSession) -> Session[StateT]:
        """Returns a stored session with its state as the bot wants it."""
        if stored.shape != len(self._migrations):
            stored._read = None
            stored.state = _migrated(stored, self._migrations)
            stored.shape = len(self._migrations)
        session: Session[Any] = stored
        if self._state_type is not None:
            session = _with_state(stored, states.from_json(stored.state, self._state_type))
        session._initial_state = self._initial
        return session

    def for_store(self, session: Session[Any], snapshot: Snapshot) -> tuple[StoredSession, bytes]:
        """Returns a session with its state as a store wants it, and the JSON of the state, all checked."""
        if session.user is not None:
            states.check_user(session.user)
            states.check(session.user, snapshot.user, "$.user")
        if type(session.state) is dict:
            states.check(session.state, snapshot.state)
            if self._state_type is not None:
                states.from_json(session.state, self._state_type)
            return session, snapshot.state
        state = states.to_json(session.state)
        if self._state_type is not None:
            states.from_json(state, self._state_type)
        return _with_state(session, state), states.encode(state)


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


def _initial_json(initial_state: object, state_type: type | None) -> bytes:
    """Returns the initial state as JSON, checked."""
    if initial_state is None:
        try:
            initial_state = {} if state_type is None else state_type()
        except TypeError as error:
            raise ConfigError(f"{state_type} has fields without a default: give an initial_state") from error
    given = dict(initial_state) if isinstance(initial_state, Mapping) else initial_state
    state = states.to_json(given, "initial_state")
    encoded = states.encode(state, "initial_state")
    states.from_json(state, state_type)
    return encoded
