"""Repeated attempts at a change that other writers may prevent."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

from botsession import StoreUnavailableError

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1


class Attempts:
    """Attempts at a change that other writers may prevent, with growing random pauses, within a time limit.

    Args:
        where: The server, without secrets, for messages.
        limit: For how many seconds; `None` for no limit.
    """

    def __init__(self, where: str, limit: float | None) -> None:
        self._where = where
        self._limit = limit
        self._started = time.monotonic()
        self._longest = _FIRST_PAUSE

    def are_over(self) -> bool:
        """Return whether there is no time for another attempt."""
        return self._limit is not None and time.monotonic() - self._started > self._limit

    async def pause(self) -> None:
        """Wait before the next attempt.

        Raises:
            StoreUnavailableError: There is no time for another one.
        """
        if self.are_over():
            raise StoreUnavailableError(
                f"other writers changed the same session in {self._where} at every attempt for {self._limit:g} s",
                remedy="Try again later.",
            )
        await asyncio.sleep(random.uniform(0, self._longest))  # noqa: S311 - nothing secret
        self._longest = min(self._longest * 2, _LONGEST_PAUSE)
