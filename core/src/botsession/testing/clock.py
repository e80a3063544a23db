"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from botsession.lifetime import utc_now

if TYPE_CHECKING:
    from datetime import datetime


class ManualClock:
    """A clock that stands still at its time of creation until `advance` moves it.

    It starts at the real present, so that a server which removes expired sessions by its own clock does not remove live ones.
    """

    def __init__(self) -> None:
        self.moment: datetime = utc_now()

    def __call__(self) -> datetime:
        return self.moment

    def __repr__(self) -> str:
        return f"ManualClock({self.moment.isoformat()})"

    def advance(self, *, minutes: float = 0, milliseconds: float = 0) -> None:
        """Let time pass."""
        self.moment += timedelta(minutes=minutes, milliseconds=milliseconds)
