"""A time limit for many operations, by one timer for all of them.

`asyncio.timeout` sets a timer for each, which costs as much as sending a command. All operations here have the same limit, so
the one that began first ends first, and one timer is enough.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, cast


class TimeLimit:
    """How long each operation may take, in one event loop.

    Args:
        seconds: The limit.
        loop: The event loop in which the operations run.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._running: dict[_Operation, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def operation(self) -> _Operation:
        """Returns a context manager that raises `TimeoutError` where its block takes longer, as `asyncio.timeout` does."""
        return _Operation(self)

    def begin(self, operation: _Operation) -> None:
        """Counts from now on."""
        operation.due = self._loop.time() + self._seconds
        self._running[operation] = None
        if self._timer is None:
            self._timer = self._loop.call_at(operation.due, self._end_overdue)

    def end(self, operation: _Operation) -> None:
        """Counts no more."""
        self._running.pop(operation, None)

    def _end_overdue(self) -> None:
        self._timer = None
        now = self._loop.time()
        for operation in list(self._running):
            if operation.due > now:
                self._timer = self._loop.call_at(operation.due, self._end_overdue)
                return
            del self._running[operation]
            operation.interrupt()


class _Operation:
    __slots__ = ("_cancelling", "_limit", "_task", "due", "interrupted")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self.due = math.inf
        self.interrupted = False

    def __enter__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._limit.begin(self)

    def interrupt(self) -> None:
        self.interrupted = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limit.end(self)
        if self.interrupted and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
