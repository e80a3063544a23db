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
    """What a session knows of the lease that its turn holds."""

    @property
    def lost(self) -> bool: ...


class InitialState(msgspec.Struct, Generic[StateT], frozen=True):
    """Makes fresh copies of an initial state.

    Attributes:
        json: The state as JSON.
        state_type: What it is for the bot; `None` for a JSON object.
    """

    json: bytes
    state_type: type[StateT] | None = None

    def __call__(self) -> StateT:
        """Returns a fresh copy."""
        state: Any = msgspec.json.decode(self.json)
        if self.state_type is not None:
            state = msgspec.convert(state, self.state_type, str_keys=True)
        return cast("StateT", state)


_UNLISTED = ("_initial_state", "_json", "_lease", "_unknown")


class _Unlisted:
    """What the library knows of a session, and what is no part of its data: neither compared nor converted."""

    __slots__ = _UNLISTED  # by a name: mypy would take those of the fields for all of them

    _initial_state: InitialState[Any]
    _json: tuple[bytes, bytes] | None
    """JSON of state and user, checked, while the session is being saved."""
    _lease: _Lease | None
    _unknown: tuple[dict[str, Any], dict[str, Any]] | None
    """The state that was stored, and as much of it as the type knows, where these differ."""


@dataclass(slots=True)
class Session(_Unlisted, Generic[StateT]):
    """The record kept under one session id.

    Inside a turn, change `state` (or `user`, or `expires_in`) and the turn saves it. The other attributes are the
    store's: it sets them at each write, and a turn that has changed one of them raises a `StateError`.
    Moments are aware, in UTC, and whole milliseconds.

    It is plain data: it can be compared, copied, pickled and converted (`dataclasses.asdict`) at any time. A copy belongs to no
    turn. Assigning to an attribute after the turn has ended raises `TurnEndedError`; a change inside `state` then
    (`session.state["count"] = 1`) cannot be noticed, and nothing saves it.

    Attributes:
        id: The session id, such as `telegram:42`.
        state: The bot's own data: a JSON object, or an instance of the `state_type` given to `Sessions`.
        user: What the bot knows of the person it talks to: a JSON object, or `None`.
        created_at: When the session was first stored.
        last_activity: When it was last written or touched.
        expires_at: When it ends; `None` means never.
        expires_in: The session's own lifetime in minutes, which goes before the store's; `None` means never,
            `msgspec.UNSET` (the default) means as long as the store says.
        version: An opaque token, new at every write; empty while the session was never stored.
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
        """Whether another may have begun a turn of this session, because this one was paused beyond its lease.

        What the turn changes will then be refused by a `SessionConflictError`: better not to begin anything that cannot
        be taken back. Always `False` where turns hold no leases.
        """
        lease = getattr(self, "_lease", None)
        return lease is not None and lease.lost

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Merges changes into the state, shallowly: each key given replaces the whole value under that key.

        Args:
            changes: New values by key, or by field where the state is typed.

        Raises:
            StateError: The state is typed, and the changes do not fit.
            TurnEndedError: The session's turn has ended, so that nothing would save the change.
        """
        from botsession.states.typed import merge

        is_in_turn = hasattr(self, "_lease")  # else it may be a copy that shares its state with a session that is
        self.state = merge(self.state if is_in_turn else copy(self.state), changes)

    def reset_state(self) -> None:
        """Returns to the initial state: a fresh copy of it, or an empty object where none was given.

        A session that did not come from `Sessions` knows none, and becomes empty.

        Raises:
            TurnEndedError: The session's turn has ended, so that nothing would save the change.
        """
        self.state = getattr(self, "_initial_state", type(self.state))()
        self._unknown = None

    def __reduce__(self) -> tuple[Any, ...]:
        data = tuple(getattr(self, name) for name in self.__match_args__)
        return self.__class__, data, getattr(self, "_initial_state", None)

    def __setstate__(self, initial_state: InitialState[StateT]) -> None:
        self._initial_state = initial_state


class _PassingAsSession(Session[Any]):
    """A session that equals, shows itself and is copied as any other."""

    __slots__ = ()
    __class__ = property(lambda _: Session)


_set_class: Final[Callable[[object, type], None]] = object.__dict__["__class__"].__set__


class _EndedSession(_PassingAsSession):
    """A session whose turn has ended: the same data, which refuses assignment."""

    __slots__ = ()

    def set_state(self, changes: Mapping[str, Any]) -> None:
        self.state = changes

    def reset_state(self) -> None:
        self.state = None

    def __setattr__(self, name: str, value: object) -> None:
        raise TurnEndedError(
            f"the turn of session {self.id!r} has ended, and nothing would save the change of its {name}; "
            "is an await missing in the handler?"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)


class _DestroyedSession(_PassingAsSession):
    """A session that was destroyed during its turn; an assignment, even of what was there, makes it any other again."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        _set_class(self, Session)
        setattr(self, name, value)


def end(session: Session[Any]) -> None:
    """Makes a session refuse every assignment from now on, as its turn has ended."""
    session._lease = None
    _set_class(session, _EndedSession)


def note_destruction(session: Session[Any]) -> None:
    """Takes note that a session was destroyed during its turn."""
    _set_class(session, _DestroyedSession)


def was_assigned(session: Session[Any]) -> bool:
    """Tells whether anything was assigned to a session since the note of its destruction."""
    return type(session) is not _DestroyedSession


@dataclass(slots=True, frozen=True)
class SessionInfo:
    """What a scan tells of a session without loading its body.

    Attributes:
        id: The session id.
        created_at: When the session was first stored.
        last_activity: When it was last written or touched.
        expires_at: When it ends; `None` means never.
        version: An opaque token, new at every write.
        size: About how many bytes the backend keeps for it; `None` where the driver does not tell. It does not count
            where two of these are compared.
    """

    id: str
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    version: str
    size: int | None = field(default=None, compare=False)
