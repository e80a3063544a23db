"""A thread for a client library that blocks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection or another client that has to be closed."""

    def close(self) -> object:
        """Close it."""
        ...


ClientT = TypeVar("ClientT", bound=Closable)
T = TypeVar("T")


class WorkerThread(Generic[ClientT]):
    """A client and the only thread that uses it, which does one job after the other.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._client: ClientT | None = None

    async def start(self, connect: Callable[[], ClientT]) -> None:
        """Have the thread make its client.

        Args:
            connect: Returns the client.
        """

        def job() -> None:
            self._client = connect()

        try:
            await self._run(job, may_drop=False)
        except BaseException:
            await self.stop()
            raise

    async def run(self, job: Callable[[ClientT], T]) -> T:
        """Have the thread do a job with its client, and return the result.

        If the caller is cancelled, the job is dropped; if it has begun, the call ends when the job has ended. So it never takes
        effect later.
        """
        client = self._client
        if client is None:
            raise RuntimeError("the thread was not started, or has been stopped")
        return await self._run(lambda: job(client), may_drop=True)

    async def stop(self) -> None:
        """Close the client when all jobs are done, and end the thread."""
        client, self._client = self._client, None
        if client is not None:
            await self._run(client.close, may_drop=False)
        self._pool.shutdown()

    async def _run(self, job: Callable[[], T], *, may_drop: bool) -> T:
        future = self._pool.submit(job)
        running = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not (may_drop and future.cancel()):
                while not running.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([running])
            raise
