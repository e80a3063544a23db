"""What a handler receives: the event, the session, and a way to answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from botsession import Session

    StateT = TypeVar("StateT", default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

Send = Callable[[str], Awaitable[None] | None]
"""Sends one text to the user."""


@dataclass(slots=True, frozen=True)
class Event:
    """One message to the bot: a text, or the payload of a pressed button.

    Attributes:
        text: What the user wrote; empty for a payload.
        payload: What the button carries; `None` for a text.
    """

    text: str = ""
    payload: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether the event is a text."""
        return self.payload is None

    @property
    def is_payload(self) -> bool:
        """Whether the event is a payload."""
        return self.payload is not None


class Context(Generic[StateT]):
    """One turn, as the handler sees it.

    Attributes:
        event: What the user sent.
        session: The session. Changes to it are saved when the handler returns.
        platform: Where the user is, such as `console`.
    """

    __slots__ = ("_send", "event", "platform", "session")

    def __init__(self, event: Event, session: Session[StateT], *, platform: str, send: Send) -> None:
        self.event = event
        self.session = session
        self.platform = platform
        self._send = send

    @property
    def state(self) -> StateT:
        """The session's state, to read and to change."""
        return self.session.state

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Merge changes into the state, shallowly; see `Session.set_state`."""
        self.session.set_state(changes)

    def reset_state(self) -> None:
        """Reset the state to the initial state; see `Session.reset_state`."""
        self.session.reset_state()

    async def send_text(self, text: str) -> None:
        """Send a text to the user immediately.

        Raises:
            TypeError: `text` is not a `str`.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_text takes a str, not {type(text).__name__}")
        outcome = self._send(text)
        if inspect.isawaitable(outcome):
            await outcome
