"""The session: what a bot remembers of one conversation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

StateT_co = TypeVar("StateT_co", covariant=True)

_NOT_STORED = datetime(1970, 1, 1, tzinfo=UTC)


class _RunningTurn(Protocol[StateT_co]):
    """What a session knows of the turn that it is given to."""

    @property
    def lease_lost(self) -> bool: ...

    def check_running(self) -> None: ...

    def initial_state(self) -> StateT_co: ...


@dataclass(slots=True)
class Session(Generic[StateT]):
    """The record kept under one session id.

    Inside a turn, change `state` (or `user`, or `expires_in`) and the turn saves it. The other attributes are the
    store's: it sets them at each write, and a turn that has changed `id`, `created_at` or `shape` raises a `StateError`. Moments are aware, in UTC, and whole milliseconds.

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
    _turn: _RunningTurn[StateT] | None = field(default=None, repr=False, compare=False, kw_only=True)
    _json: tuple[bytes, bytes] | None = field(default=None, repr=False, compare=False, kw_only=True)
    """JSON of state and user, checked, while the session is being saved."""
    _unknown: tuple[dict[str, Any], dict[str, Any]] | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )
    """The state that was stored, and as much of it as the type knows, where these differ."""

    @property
    def lease_lost(self) -> bool:
        """Whether another may have begun a turn of this session, because this one was paused beyond its lease.

        What the turn changes will then be refused by a `SessionConflictError`: better not to begin anything that cannot
        be taken back. Always `False` where turns hold no leases.
        """
        return self._turn is not None and self._turn.lease_lost

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Merges changes into the state, shallowly: each key given replaces the whole value under that key.

        Args:
            changes: New values by key, or by field where the state is typed.

        Raises:
            StateError: The state is typed, and the changes do not fit.
            TurnEndedError: The session's turn has ended, so that nothing would save the change.
        """
        if self._turn is not None:
            self._turn.check_running()
        from botsession.state_types import merge

        self.state = merge(self.state, changes)

    def reset_state(self) -> None:
        """Returns to the initial state: a fresh copy of it, or an empty object where none was given.

        Raises:
            TurnEndedError: The session's turn has ended, so that nothing would save the change.
        """
        if self._turn is None:
            self.state = type(self.state)()
        else:
            self._turn.check_running()
            self.state = self._turn.initial_state()
        self._unknown = None


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
