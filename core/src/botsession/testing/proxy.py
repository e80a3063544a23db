"""A TCP proxy between a store and its server, which loses replies, hangs and breaks connections."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

_PIECE = 65_536

Direction = Literal["request", "answer"]


class Proxy:
    """Listens on a port of its own while its block runs, and forwards to a server, in the event loop of the test.

    Args:
        host: The host of the server.
        port: The port of the server.

    Attributes:
        host: The host of the proxy.
        port: The port of the proxy.
        lost: How many requests and replies were lost.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self.port: int = 0
        self.lost: int = 0
        self._server = (host, port)
        self._losing: Direction | None = None
        self._before_it = 0
        self._hangs = False
        self._refuses = False
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        await self.cut()

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._connections)

    async def cut(self) -> None:
        """Break every connection."""
        while self._connections:
            for task in self._connections:
                task.cancel()
            await asyncio.wait(self._connections)

    def lose(self, direction: Direction, *, after: int = 0) -> None:
        """Lose one request or one reply, together with its connection.

        Args:
            direction: With `request` the server never sees it; with `answer` the server has carried it out.
            after: How many are forwarded before.
        """
        self._losing, self._before_it = direction, after

    def calm(self) -> None:
        """Stop losing."""
        self._losing = None

    @contextlib.asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """Accept connections, forward nothing, and break all of them at the end."""
        self._hangs = True
        try:
            yield
        finally:
            await self.cut()
            self._hangs = False

    @contextlib.asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Break every connection, and new ones at once, until the end."""
        self._refuses = True
        await self.cut()
        try:
            yield
        finally:
            self._refuses = False

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()  # a task that was cancelled before its first step has closed nothing

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._refuses:
                return
            server_reader, server_writer = await asyncio.open_connection(*self._server)
            writers.append(server_writer)
            asked = asyncio.Event()
            loop = asyncio.get_running_loop()
            tasks += [
                loop.create_task(self._pass_on("request", reader, server_writer, asked)),
                loop.create_task(self._pass_on("answer", server_reader, writer, asked)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return
        finally:
            for task in tasks:
                task.cancel()
            for each in writers:
                each.transport.abort()
            if tasks:
                await asyncio.wait(tasks)

    async def _pass_on(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        """Forward in one direction until the connection ends. Only the first piece of a request or reply can be lost."""
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._hangs:
                    continue
                first = asked.is_set() is (direction == "answer")
                if first and self._is_lost(direction):
                    return
                asked.set() if direction == "request" else asked.clear()
                writer.write(piece)
                await writer.drain()

    def _is_lost(self, direction: Direction) -> bool:
        if self._losing != direction:
            return False
        if self._before_it:
            self._before_it -= 1
            return False
        self._losing = None
        self.lost += 1
        return True
