"""A TCP proxy between a store and its server, which loses answers, hangs and breaks connections."""

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
    """Listens on a port of its own while its block runs, and passes on to a server, in the event loop of the test.

    Args:
        host: Where the server listens.
        port: Where the server listens.

    Attributes:
        host: Where the proxy listens.
        port: Where the proxy listens.
        lost: How many requests and answers were lost.
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
        """How many connections of clients are open."""
        return len(self._connections)

    async def cut(self) -> None:
        """Breaks every connection."""
        while self._connections:
            for task in self._connections:
                task.cancel()
            await asyncio.wait(self._connections)

    def lose(self, direction: Direction, *, after: int = 0) -> None:
        """Has one request, or the answer to one, be lost with its connection.

        Args:
            direction: `request`: the server never sees it. `answer`: the server has done what was asked for.
            after: How many are passed on before.
        """
        self._losing, self._before_it = direction, after

    def calm(self) -> None:
        """Loses nothing any more."""
        self._losing = None

    @contextlib.asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """Passes nothing on and accepts connections that nobody answers; breaks them at the end."""
        self._hangs = True
        try:
            yield
        finally:
            await self.cut()
            self._hangs = False

    @contextlib.asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Breaks every connection, and new ones at once, until the end."""
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
        self._connections.pop(task).close()  # a task that is cancelled before it begins has closed nothing

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
        """Passes on in one direction until the connection ends; a piece that answers nothing is part of a longer answer."""
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
