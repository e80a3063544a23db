"""Worker threads. The way to a thread and back is half as long as with `ThreadPoolExecutor`, and jobs can share threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Workers:
    """A pool of threads, which `run_in_executor` takes as an executor.

    A process that exits without `shutdown` does not wait for the threads.

    Args:
        count: How many threads to start at most, one for each of the first jobs.
        name: The beginning of their names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., Any], *arguments: object) -> asyncio.Future[Any]:
        """Call a function in a thread, unless the future is cancelled before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.start(partial(_run, loop, future, partial(function, *arguments)))
        return future

    def start(self, job: Callable[[], object]) -> None:
        """Run a job that raises nothing, and whose result nobody waits for."""
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


class Batch(Generic[T]):
    """Jobs that several threads share: each takes one after the other until none is left.

    Args:
        jobs: The jobs, at least one.
    """

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self._rest = deque(enumerate(jobs))
        self._results: list[Any] = [None] * len(jobs)
        self._errors: list[BaseException] = []
        self._unfinished = len(jobs)
        self._lock = threading.Lock()
        self._over = threading.Event()

    def work(self) -> None:
        """Take one job after the other until none is left."""
        while True:
            with self._lock:
                if not self._rest:
                    return
                index, job = self._rest.popleft()
            try:
                self._results[index] = job()
            except BaseException as error:  # noqa: BLE001 - `finish` raises it
                self._errors.append(error)
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self._over.set()

    def finish(self) -> list[T]:
        """Work, wait for the other threads, and return the results in the order of the jobs."""
        self.work()
        self._over.wait()
        if self._errors:
            raise self._errors[0]
        return self._results


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], object]) -> None:
    if future.cancelled():
        return
    try:
        settle = partial(future.set_result, function())
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        settle = partial(future.set_exception, error)
    with contextlib.suppress(RuntimeError):  # the event loop was closed in the meantime
        loop.call_soon_threadsafe(_settle, future, settle)
    del settle  # an error refers to this frame


def _settle(future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not future.cancelled():
        settle()
