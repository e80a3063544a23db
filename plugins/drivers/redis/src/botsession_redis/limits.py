"""The limits of operations: how many use the server at once, and how long each may take."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Any


class Places:
    """The places for concurrent operations, and the queue for them.

    An operation that finds a free place takes it without a call, and one that ends with nobody in the queue returns it the same way.

    Args:
        free: How many places there are.

    Attributes:
        free: How many places are free; none while there is a queue.
        queue: The operations that wait, in order of arrival.
    """

    def __init__(self, free: int) -> None:
        self.free = free
        self.queue: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait for a place that another operation passes on."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.append(admitted)
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give a place to the first operation in the queue."""
        while self.queue:
            admitted = self.queue.popleft()
            if not admitted.done():
                admitted.set_result(None)
                return
        self.free += 1


class TimeLimit:
    """A context manager that raises `TimeoutError` if its block takes too long, as `asyncio.timeout` does.

    `asyncio.timeout` sets a timer for each block, which costs as much as sending a command. Here all blocks have the same limit, so
    the one that began first ends first, and a single timer is enough. A task enters one block at a time.

    Args:
        seconds: The limit.
        loop: The event loop in which the blocks run.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._running: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._interrupted: dict[asyncio.Task[Any], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task: Any = asyncio.current_task()
        self._running[task] = time.monotonic() + self._seconds, task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._interrupt_overdue)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is GeneratorExit:
            return  # the task was thrown away, and the current one is another
        task: Any = asyncio.current_task()
        if self._running.pop(task, None) is not None:
            return
        cancelling = self._interrupted.pop(task)
        if task.uncancel() <= cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _interrupt_overdue(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, (due, cancelling) in list(self._running.items()):
            if due > now:
                self._timer = self._loop.call_later(due - now, self._interrupt_overdue)
                return
            del self._running[task]
            self._interrupted[task] = cancelling
            task.cancel()
