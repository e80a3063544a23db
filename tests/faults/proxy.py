"""A TCP proxy that simulates network faults.

Each connection gets its own trouble, drawn when it is made. A cut happens at a chosen byte in one direction: earlier
bytes have been forwarded, later ones are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["none", "cut", "reset", "stall", "delay", "trickle"]
Direction = Literal["up", "down"]

_MANY = 65_536
_FEW = 64
_MOMENT = 0.002


@dataclass(frozen=True)
class Trouble:
    """The fault of a connection.

    cut, reset: the connection ends with a FIN or a RST. stall: it stays open but forwards nothing more; after 0 bytes,
    it was accepted and is never answered. delay: each chunk is delayed by `seconds`, and the connection is cut at the
    end. trickle: a few bytes at a time are forwarded, and the connection is cut at the end.

    Attributes:
        kind: One of the above.
        direction: `up` means from the client to the server.
        after: Number of bytes in that direction before the fault; `None` means never.
        seconds: Delay of each chunk.
    """

    kind: Kind = "none"
    direction: Direction = "up"
    after: int | None = None
    seconds: float = 0.0


Weather = Callable[[random.Random], Trouble]
"""A function that chooses the trouble of a new connection."""


def calm(chance: random.Random) -> Trouble:
    """Choose no trouble."""
    return Trouble()


class Proxy:
    """A proxy in front of a server; `serve` runs in one thread, the other methods are called from another.

    Args:
        server: The server's local port.
        chance: Random generator that draws the troubles.

    Attributes:
        port: The port that the proxy listens on.
        seen: Number of connections, by trouble.
    """

    def __init__(self, server: int, chance: random.Random) -> None:
        self.port = 0
        self.seen: Counter[str] = Counter()
        self._server = server
        self._chance = chance
        self._weather: Weather = calm
        self._connections: dict[asyncio.Task[None], asyncio.Event] = {}
        self._listens = threading.Event()

    async def serve(self) -> None:
        """Forward connections until the proxy is closed."""
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._listens.set()
        await self._closed.wait()
        listener.close()
        while self._connections:
            self._cut()
            await asyncio.wait(self._connections)
        await asyncio.sleep(0)

    def wait_for_it(self) -> None:
        """Wait until the proxy listens."""
        assert self._listens.wait(30), "the proxy does not listen"

    def close(self) -> None:
        """Cut all connections and accept no more."""
        self._loop.call_soon_threadsafe(self._closed.set)

    def change(self, weather: Weather) -> None:
        """Cut all connections, and use another function to choose the troubles of new ones."""
        self._weather = weather
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for ended in self._connections.values():
            ended.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        task = self._loop.create_task(self._connect(reader, writer, self._weather(self._chance), ended))
        self._connections[task] = ended
        task.add_done_callback(self._connections.pop)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trouble: Trouble, ended: asyncio.Event
    ) -> None:
        """Forward between a client and the server until either side, or the trouble, ends the connection."""
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server)
        except OSError:
            writer.close()
            return
        up, down = (trouble, Trouble()) if trouble.direction == "up" else (Trouble(), trouble)
        tasks = [
            self._loop.create_task(self._pump(reader, server_writer, up)),
            self._loop.create_task(self._pump(server_reader, writer, down)),
            self._loop.create_task(ended.wait()),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for each in (writer, server_writer):
            if trouble.kind == "reset" or each.transport.get_write_buffer_size():
                _reset(each)
            else:
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trouble: Trouble) -> None:
        slow = trouble.kind in ("delay", "trickle")
        rest = sys.maxsize if trouble.after is None else trouble.after
        with contextlib.suppress(OSError):
            while data := await reader.read(_FEW if trouble.kind == "trickle" else _MANY):
                if slow:
                    self.seen[trouble.kind] += rest == trouble.after
                    await asyncio.sleep(trouble.seconds if trouble.kind == "delay" else _MOMENT)
                writer.write(data[:rest])
                await writer.drain()
                rest -= len(data)
                if rest < 0:
                    self.seen[trouble.kind] += not slow
                    if trouble.kind == "stall":
                        await self._loop.create_future()
                    return


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST."""
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()
