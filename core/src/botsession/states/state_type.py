"""The state of a session in its two forms: as a bot uses it, and as a store keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from botsession.errors import ConfigError, StateError
from botsession.protocol import StoredSession
from botsession.session import InitialState, Session, StateT
from botsession.states import json_values
from botsession.states.migrations import Migration, Migrations

if TYPE_CHECKING:  # imported on first use, because it imports msgspec.inspect
    from botsession.states.typed import TypedState

_encode: Final = msgspec.json.Encoder().encode
_NO_USER: Final = b"null"
_INITIAL: Final = "initial_state"


class Snapshot(msgspec.Struct, eq=False):
    """What a turn can change, as it was at one moment.

    Attributes:
        state: The state as JSON, as it is stored.
        user: What the bot knows about the person, as JSON.
        expires_in: The session's own lifetime.
        stored: The state as a store takes it; `None` if it is the same object as the bot's.
    """

    state: bytes
    user: bytes
    expires_in: object
    stored: dict[str, Any] | None = None

    def differs(self, before: Snapshot) -> bool:
        """Return whether anything has changed since."""
        return self.state != before.state or self.user != before.user or self.expires_in != before.expires_in


class StateType(Generic[StateT]):
    """What a state is for a bot.

    Args:
        initial_state: The state of a new session; `None` for the default of the type.
        state_type: The type of a state; `None` for a JSON object.
        migrations: What converts a stored state from each older shape to the next.

    Raises:
        ConfigError: The type cannot be used, or has no default and no initial state was given; or a migration is not a function.
        StateError: The initial state is not a JSON object, or does not fit the type.
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
        self._migrations = Migrations(migrations)

    def initial_state(self) -> StateT:
        """Return a new copy of the initial state."""
        return self._initial()

    def create(self, session_id: str) -> tuple[Session[StateT], Snapshot]:
        """Return a session that was never stored, and what it starts with."""
        session = Session(session_id, self._initial(), shape=self._migrations.count)
        session._initial_state = self._initial
        return session, self.snapshot(session)

    def load(self, stored: StoredSession) -> tuple[Session[StateT], Snapshot]:
        """Return a stored session with its state as the bot uses it, and what it starts with."""
        session = self.for_bot(stored)
        user = _NO_USER if session.user is None else _encode(session.user)
        if self._type is None:
            return session, Snapshot(_encode(session.state), user, session.expires_in)
        state = stored.state
        encoded = self._type.encode(session.state)
        known = json_values.decode(encoded)
        if known == state:
            return session, Snapshot(encoded, user, session.expires_in)
        carried = self._type.carry(state, known, known)
        if carried != known:
            session._unknown = state, known
        return session, Snapshot(_encode(carried), user, session.expires_in)

    def is_older(self, stored: StoredSession) -> bool:
        """Return whether a session was stored before the latest migration."""
        return stored.shape != self._migrations.count

    def snapshot(self, session: Session[Any]) -> Snapshot:
        """Return what a turn can change, as it is now, including the fields that the type does not know.

        Raises:
            StateError: Something in it would not come back as it is.
        """
        user = _NO_USER if session.user is None else json_values.encode_user(session.user)
        if self._type is None:
            state = session.state
            if type(state) is not dict:
                state = json_values.to_json(state)
            return Snapshot(json_values.encode(state), user, session.expires_in)
        stored, encoded = self._type.write(session.state)
        unknown: tuple[dict[str, Any], dict[str, Any]] | None = getattr(session, "_unknown", None)
        if unknown is not None:
            stored = self._type.carry(*unknown, stored)
            encoded = _encode(stored)
        return Snapshot(encoded, user, session.expires_in, stored)

    def for_bot(self, stored: StoredSession) -> Session[StateT]:
        """Return a stored session with its state as the bot uses it."""
        if stored.shape != self._migrations.count:
            self._migrations.apply(stored)
        session: Session[Any] = stored
        if self._type is not None:
            session = _with_state(stored, self._type.read(stored.state))
        session._initial_state = self._initial
        return session

    def for_store(self, session: Session[Any], snapshot: Snapshot) -> StoredSession:
        """Return a session with its state as a store takes it."""
        return session if snapshot.stored is None else _with_state(session, snapshot.stored)

    def _initial_json(self, given: StateT | Mapping[str, Any] | None) -> bytes:
        """Return the initial state as JSON, checked."""
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
