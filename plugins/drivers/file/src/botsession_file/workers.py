"""A pool of worker threads with a short way to a thread and back: half of what `ThreadPoolExecutor` and asyncio take."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any


class Workers:
    """Threads that run jobs in the order in which they were submitted.

    `run_in_executor` takes it as an executor. A process that ends without `shutdown` does not wait for the threads.

    Args:
        count: How many threads to start at most, one for each of the first jobs.
        name: How their names begin.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., Any], *arguments: object) -> asyncio.Future[Any]:
        """Call a function in a thread; return its result to the running event loop. A cancelled call does not begin."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.start(partial(_run, loop, future, partial(function, *arguments)))
        return future

    def start(self, job: Callable[[], object]) -> None:
        """Run a job that raises nothing in a thread."""
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def end(self) -> None:
        """End the threads after the jobs that were submitted."""
        for _ in self._threads:
            self._jobs.put(None)

    def shutdown(self) -> None:
        """End the threads and wait for them."""
        self.end()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], object]) -> None:
    if future.cancelled():
        return
    try:
        _answer(loop, future, function(), None)
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        _answer(loop, future, None, error)


def _answer(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop was closed in the meantime
        loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
