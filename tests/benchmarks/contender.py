"""What is compared: something that can run a turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from benchmarks.place import Place
from benchmarks.workload import Workload


class Contender:
    """Keeps sessions in one backend, by one library.

    Attributes:
        name: For the tables.
        against: The name of the bare client that it is compared with; its own where it is one.
    """

    name: str
    against: str

    def __init__(self, place: Place, workload: Workload) -> None:
        self.place = place
        self.workload = workload

    async def open(self) -> None:
        """Connects."""

    async def close(self) -> None:
        """Lets go of what `open` has taken."""

    async def turn(self, session_id: str, *, pause: bool = False) -> None:
        """Runs one turn.

        Args:
            session_id: Whose turn.
            pause: Whether the handler awaits something before it changes the session, as a bot does.
        """
        raise NotImplementedError

    async def read(self, session_id: str) -> dict[str, Any] | None:
        """Returns a state as it is stored."""
        raise NotImplementedError


class Plain(Contender):
    """One that can read and write a state, and knows no turns: the last writer wins."""

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        """Stores a state with an expiry."""
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
    """Opens contenders, and closes them in any case."""
    async with contextlib.AsyncExitStack() as stack:
        ready: list[Contender] = []
        for contender in contenders:
            stack.push_async_callback(contender.close)
            await contender.open()
            ready.append(contender)
        yield ready
