"""The contenders: anything that can run a turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from benchmarks.place import Place
from benchmarks.workload import Workload


class Contender:
    """One library storing sessions in one backend.

    Attributes:
        name: The name shown in the tables.
        against: The name of the bare client to compare with. A bare client names itself.
    """

    name: str
    against: str

    def __init__(self, place: Place, workload: Workload) -> None:
        self.place = place
        self.workload = workload

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Release what `open` acquired."""

    async def turn(self, session_id: str, *, pause: bool = False) -> None:
        """Run one turn.

        Args:
            session_id: The session.
            pause: Whether the handler awaits before it changes the session, as a real bot does.
        """
        raise NotImplementedError

    async def read(self, session_id: str) -> dict[str, Any] | None:
        """Return the stored state of a session."""
        raise NotImplementedError


class Plain(Contender):
    """A contender that only reads and writes states, without turns: the last writer wins."""

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        """Store a state with an expiry."""
        raise NotImplementedError

    async def turn(self, session_id: str, *, pause: bool = False) -> None:
        state = await self.read(session_id)
        if state is None:
            state = self.workload.initial()
        if pause:
            await asyncio.sleep(0)
        self.workload.change(state)
        await self.write(session_id, state)


@contextlib.asynccontextmanager
async def opened(contenders: Iterable[Contender]) -> AsyncIterator[Sequence[Contender]]:
    """Open contenders, and close them even after an error."""
    async with contextlib.AsyncExitStack() as stack:
        ready: list[Contender] = []
        for contender in contenders:
            stack.push_async_callback(contender.close)
            await contender.open()
            ready.append(contender)
        yield ready
