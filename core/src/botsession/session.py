"""The session: what a bot remembers of one conversation."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, cast

import msgspec

from botsession.errors import TurnEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

StateT_co = TypeVar("StateT_co", covariant=True)

_NOT_STORED = datetime(1970, 1, 1, tzinfo=UTC)


class _Lease(Protocol):
    """The part of a turn's lease that a session uses."""

    @property
    def lost(self) -> bool: ...


class InitialState(msgspec.Struct, Generic[StateT], frozen=True):
    """A factory of copies of an initial state.

    Attributes:
        json: The state as JSON.
        state_type: Its type for the bot; `None` for a JSON object.
    """

    json: bytes
    state_type: type[StateT] | None = None

    def __call__(self) -> StateT:
        """Return a new copy."""
        state: Any = msgspec.json.decode(self.json)
        if self.state_type is not None:
            state = msgspec.convert(state, self.state_type, str_keys=True)
        return cast("StateT", state)


_UNLISTED = ("_initial_state", "_json", "_lease", "_unknown")


class _Unlisted:
    """Attributes of a session for the library's own use. They are not part of its data: not compared, not converted."""

    __slots__ = _UNLISTED  # given by name, or mypy would require every attribute of the subclass to be in it

    _initial_state: InitialState[Any]
    _json: tuple[bytes, bytes] | None
    """The checked JSON of state and user, while the session is being saved."""
    _lease: _Lease | None
    _unknown: tuple[dict[str, Any], dict[str, Any]] | None
    """The state that was stored, and the part of it that the type knows, if they differ."""


@dataclass(slots=True)
class Session(_Unlisted, Generic[StateT]):
    """The record under one session id.

    Inside a turn, change `state`, `user` or `expires_in`, and the turn saves it. The store sets the other attributes at each write,
    and a turn that has changed one of them raises a `StateError`. Moments are aware, in UTC, and whole milliseconds.

    A session is plain data: it can be compared, copied, pickled and converted (`dataclasses.asdict`) at any time. A copy does not
    belong to a turn. Assigning to an attribute after the turn has ended raises `TurnEndedError`. A change inside `state`
    (`session.state["count"] = 1`) cannot be detected then, and is not saved.

    Attributes:
        id: The session id, such as `telegram:42`.
        state: The bot's own data: a JSON object, or an instance of the `state_type` given to `Sessions`.
        user: What the bot knows about the person it talks to: a JSON object, or `None`.
        created_at: When the session was first stored.
        last_activity: When it was last written or touched.
        expires_at: When it ends; `None` means never.
        expires_in: The session's own lifetime in minutes, which overrides the store's. `None` means never, `msgspec.UNSET` (the
            default) means the store's lifetime.
        version: An opaque token, new at every write; empty if the session was never stored.
        shape: How many migrations the state has been through; see `Sessions`.
    """

    id: str
    state: StateT = field(default_factory=dict)  # type: ignore[assignment]  # the default of StateT is a dict
    user: dict[str, Any] | None = None
    created_at: datetime = _NOT_STORED
    last_activity: datetime = _NOT_STORED
    expires_at: datetime | None = None
    expires_in: float | msgspec.UnsetType | None = msgspec.UNSET
    version: str = ""
    shape: int = 0

    @property
    def lease_lost(self) -> bool:
        """Whether another turn of this session may have started, because this one was paused beyond its lease.

        The turn will then not be saved but raise a `SessionConflictError`, so do not start anything that cannot be undone. Always
        `False` if turns hold no leases.
        """
        lease = getattr(self, "_lease", None)
        return lease is not None and lease.lost

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Merge changes into the state, shallowly: each given key replaces the whole value under that key.

        Args:
            changes: New values by key, or by field if the state is typed.

        Raises:
            StateError: The state is typed, and the changes do not fit.
            TurnEndedError: The session's turn has ended, so nothing would save the change.
        """
        from botsession.states.typed import merge

        is_in_turn = hasattr(self, "_lease")  # a copy has none, and may share its state with a session in a turn
        self.state = merge(self.state if is_in_turn else copy(self.state), changes)

    def reset_state(self) -> None:
        """Replace the state by a copy of the initial state, or by an empty object if none was given.

        A session that does not come from `Sessions` has no initial state, and becomes empty.

        Raises:
            TurnEndedError: The session's turn has ended, so nothing would save the change.
        """
        self.state = getattr(self, "_initial_state", type(self.state))()
        self._unknown = None

    def __reduce__(self) -> tuple[Any, ...]:
        data = tuple(getattr(self, name) for name in self.__match_args__)
        return self.__class__, data, getattr(self, "_initial_state", None)

    def __setstate__(self, initial_state: InitialState[StateT]) -> None:
        self._initial_state = initial_state


class _PassingAsSession(Session[Any]):
    """A session that is compared, shown and copied like any other."""

    __slots__ = ()
    __class__ = property(lambda _: Session)


_set_class: Final[Callable[[object, type], None]] = object.__dict__["__class__"].__set__


class _EndedSession(_PassingAsSession):
    """A session whose turn has ended: the same data, but assignment is refused."""

    __slots__ = ()

    def set_state(self, changes: Mapping[str, Any]) -> None:
        self.state = changes

    def reset_state(self) -> None:
        self.state = None

    def __setattr__(self, name: str, value: object) -> None:
        raise TurnEndedError(
            f"the turn of session {self.id!r} has ended, and nothing would save the change of its {name}",
            remedy="Check whether an await is missing in the handler.",
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)


class _DestroyedSession(_PassingAsSession):
    """A session that was destroyed during its turn. Any assignment, even of the same value, makes it a normal one again."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        _set_class(self, Session)
        setattr(self, name, value)


def end(session: Session[Any]) -> None:
    """Make a session refuse assignments, because its turn has ended."""
    session._lease = None
    _set_class(session, _EndedSession)


def note_destruction(session: Session[Any]) -> None:
    """Record that a session was destroyed during its turn."""
    _set_class(session, _DestroyedSession)


def was_assigned(session: Session[Any]) -> bool:
    """Return whether anything was assigned to a session since `note_destruction`."""
    return type(session) is not _DestroyedSession


@dataclass(slots=True, frozen=True)
class SessionInfo:
    """What a scan returns about a session without loading its body.

    Attributes:
        id: The session id.
        created_at: When the session was first stored.
        last_activity: When it was last written or touched.
        expires_at: When it ends; `None` means never.
        version: An opaque token, new at every write.
        size: About how many bytes the backend keeps for it; `None` if the driver does not know. It is ignored in comparisons.
    """

    id: str
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    version: str
    size: int | None = field(default=None, compare=False)
