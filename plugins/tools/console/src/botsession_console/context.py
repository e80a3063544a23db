"""What a handler works with: the event, the session, and a way to answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic

from botsession_console.events import Event

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from botsession import Session

    StateT = TypeVar("StateT", default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

Send = Callable[[str], Awaitable[None] | None]
"""Brings one text to the user."""


class Context(Generic[StateT]):
    """One turn, as the handler sees it.

    Attributes:
        event: What the user sent.
        session: The session; what the handler changes in it is saved when the handler returns.
        platform: Where the user is, such as `console`.
    """

    __slots__ = ("_send", "event", "platform", "session")

    def __init__(self, event: Event, session: Session[StateT], *, platform: str, send: Send) -> None:
        self.event: Event = event
        self.session: Session[StateT] = session
        self.platform: str = platform
        self._send = send

    @property
    def state(self) -> StateT:
        """The session's state, to read and to change."""
        return self.session.state

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Merges changes into the state, shallowly; see `Session.set_state`."""
        self.session.set_state(changes)

    def reset_state(self) -> None:
        """Returns to the initial state; see `Session.reset_state`."""
        self.session.reset_state()

    async def send_text(self, text: str) -> None:
        """Sends a text to the user, at once.

        Raises:
            TypeError: It is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_text takes a str, not {type(text).__name__}")
        outcome = self._send(text)
        if inspect.isawaitable(outcome):
            await outcome
