"""What a bot receives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Event:
    """One message to the bot: a text, or the payload of a button that was pressed.

    Attributes:
        text: What the user wrote; empty where the event is a payload.
        payload: What the button carries; `None` where the event is a text.
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
