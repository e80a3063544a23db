"""The shape of a state: as a bot works with it, and as a store keeps it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from botsession.errors import ConfigError, StateError
from botsession.session import InitialState, Session, StateT
from botsession.states import json_values

if TYPE_CHECKING:
    from botsession.protocol import StoredSession
    from botsession.states.typed import TypedState

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a state of an older shape and returns it in the next one."""

_encode: Final = msgspec.json.Encoder().encode
_NO_USER: Final = b"null"
_INITIAL: Final = "initial_state"


class Snapshot(msgspec.Struct, eq=False):
    """What a turn can change, as it was at one moment.

    Attributes:
        state: The state as JSON, as it is stored.
        user: What the bot knows of the person, as JSON.
        expires_in: The session's own lifetime.
        stored: The state as a store takes it; `None` where it is the bot's own object.
    """

    state: bytes
    user: bytes
    expires_in: object
    stored: dict[str, Any] | None = None

    def differs(self, before: Snapshot) -> bool:
        """Tells whether anything has changed since."""
        return self.state != before.state or self.user != before.user or self.expires_in != before.expires_in


class StateType(Generic[StateT]):
    """What a state is for a bot.

    Args:
        initial_state: The state of a new session; `None` for the default of the type.
        state_type: What a state is; `None` for a plain JSON object.
        migrations: What takes a stored state from each older shape to the next.

    Raises:
        ConfigError: The type cannot be used, or has no default where no initial state was given; or what is given as
            a migration is none.
        StateError: The initial state is no JSON object, or does not fit the type.
    """

    def __init__(
        self,
        initial_state: StateT | Mapping[str, Any] | None,
        state_type: type[StateT] | None,
        migrations: Sequence[Migration],
    ) -> None:
        self._type: TypedState[StateT] | None = None
        if state_type is not None:
            from botsession.states.typed import TypedState

            self._type = TypedState(state_type)
        self._initial = InitialState(self._initial_json(initial_state), state_type)
        self._migrations = _checked(migrations)

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._initial()

    def begin_new(self, session_id: str) -> tuple[Session[StateT], Snapshot]:
        """Returns a session that was never stored, and what it begins with."""
        session = Session(session_id, self._initial(), shape=len(self._migrations))
        session._initial_state = self._initial
        return session, self.snapshot(session)

    def begin(self, stored: StoredSession) -> tuple[Session[StateT], Snapshot]:
        """Returns a stored session with its state as the bot wants it, and what it begins with."""
        session = self.for_bot(stored)
        user = _NO_USER if session.user is None else _encode(session.user)
        if self._type is None:
            return session, Snapshot(_encode(session.state), user, session.expires_in)
        state = stored.state
        encoded = self._type.text(session.state)
        known = json_values.decode(encoded)
        if known == state:
            return session, Snapshot(encoded, user, session.expires_in)
        carried = self._type.carry(state, known, known)
        if carried != known:
            session._unknown = state, known
        return session, Snapshot(_encode(carried), user, session.expires_in)

    def is_older(self, stored: StoredSession) -> bool:
        """Tells whether a session was stored before the latest migration."""
        return stored.shape != len(self._migrations)

    def snapshot(self, session: Session[Any]) -> Snapshot:
        """Returns what a turn can change, as it is now, with the fields that the type does not know.

        Raises:
            StateError: Something in it would not come back as it is.
        """
        user = _NO_USER if session.user is None else json_values.encode_user(session.user)
        if self._type is None:
            state = session.state
            return Snapshot(
                json_values.encode(state if type(state) is dict else json_values.to_json(state)),
                user,
                session.expires_in,
            )
        stored, encoded = self._type.write(session.state)
        unknown: tuple[dict[str, Any], dict[str, Any]] | None = getattr(session, "_unknown", None)
        if unknown is not None:
            stored = self._type.carry(*unknown, stored)
            encoded = _encode(stored)
        return Snapshot(encoded, user, session.expires_in, stored)

    def for_bot(self, stored: StoredSession) -> Session[StateT]:
        """Returns a stored session with its state as the bot wants it."""
        if stored.shape != len(self._migrations):
            stored.state = _migrated(stored, self._migrations)
            stored.shape = len(self._migrations)
        session: Session[Any] = stored
        if self._type is not None:
            session = _with_state(stored, self._type.read(stored.state))
        session._initial_state = self._initial
        return session

    def for_store(self, session: Session[Any], snapshot: Snapshot) -> StoredSession:
        """Returns a session with its state as a store takes it."""
        return session if snapshot.stored is None else _with_state(session, snapshot.stored)

    def _initial_json(self, given: StateT | Mapping[str, Any] | None) -> bytes:
        """Returns the initial state as JSON, checked."""
        if self._type is None:
            return json_values.encode({} if given is None else _plain(given), _INITIAL)
        if given is None:
            try:
                return self._type.write(self._type.default(), _INITIAL)[1]
            except StateError as error:
                raise ConfigError(f"the default of state_type {self._type.name} cannot be used: {error}") from error
        if isinstance(given, Mapping):
            given = self._type.read(msgspec.json.decode(json_values.encode(_plain(given), _INITIAL)), _INITIAL)
        return self._type.write(given, _INITIAL)[1]


def _plain(given: object) -> dict[str, Any]:
    return json_values.to_json(dict(given) if isinstance(given, Mapping) else given, _INITIAL)


def _checked(migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Refuses what cannot be called as a migration."""
    given: object = migrations
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"migrations is a sequence of functions; got {migrations!r}")
    checked = tuple(migrations)
    for migration in checked:
        if not callable(migration):
            raise ConfigError(f"a migration is a function that takes a state and returns it; got {migration!r}")
        if inspect.iscoroutinefunction(migration):
            raise ConfigError(f"the migration {migration.__name__} is async; a migration is a plain function")
    return checked


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
    try:
        json_values.encode(state)
    except StateError as error:
        raise StateError(
            error.path, f"a migration of session {session.id!r} left what JSON cannot hold: {error}"
        ) from error
    return state
