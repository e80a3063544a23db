"""The server's clock, which leases use, so that the clocks of the bots' machines do not matter.

Not every server can compare with its own time inside an update, but each reports it in its reply to `hello`.
"""

from __future__ import annotations

import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from botsession import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

OLD: Final = 60.0
"""Seconds after which the server is asked again."""

_JUMP: Final = 1.0
"""By how many seconds this machine's two clocks may drift apart; beyond, one was set, or stopped while the machine slept."""

_QUICK: Final = 0.2
"""Seconds within which a reply is exact enough; after a slower one the server is asked again."""


class ServerClock:
    """Knows the server's time.

    Args:
        hello: Sends `hello` to the server and returns its reply.
    """

    def __init__(self, hello: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._hello = hello
        self._asked: tuple[float, float] | None = None
        self._ahead = 0.0

    async def now(self) -> int:
        """Return the server's time in milliseconds since 1970; ask the server if it was not asked for a while.

        Raises:
            StoreUnavailableError: The server does not answer.
        """
        monotonic = time.monotonic()
        if self._is_old(monotonic):
            await self._ask()
            monotonic = time.monotonic()
        return int((monotonic + self._ahead) * 1000)

    def _is_old(self, monotonic: float) -> bool:
        if self._asked is None:
            return True
        passed = monotonic - self._asked[0]
        return passed > OLD or abs(time.time() - self._asked[1] - passed) > _JUMP

    async def _ask(self) -> None:
        quickest = float("inf")
        for _ in range(3):
            before = time.monotonic()
            answer = await self._hello()
            after = time.monotonic()
            if "localTime" not in answer:
                raise StoreError("the server does not report its time in its reply to hello, which leases need")
            if after - before < quickest:
                quickest = after - before
                theirs = answer["localTime"].replace(tzinfo=UTC).timestamp()
                self._ahead = theirs - (before + after) / 2
            if quickest < _QUICK:
                break
        self._asked = (time.monotonic(), time.time())
