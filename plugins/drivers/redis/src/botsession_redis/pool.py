"""The connections that a store opens by itself.

redis-py connects, authenticates and encrypts. Commands and replies then bypass it, because its own way to send a command costs
several times the parsing: hiredis writes and reads, and asyncio calls `Channel` with what has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hiredis import Reader, pack_command
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from botsession_redis.errors import is_closed, is_full
from botsession_redis.scripts import Command

_pack: Final[Callable[[Command], bytes]] = pack_command  # type: ignore[assignment]  # its stub knows tuples of one only
_GREETING_SECONDS: Final = 0.2
_GREETING_BYTES: Final = 1024


class Channel(asyncio.Protocol):
    """An open connection, which carries one exchange of commands and replies at a time.

    Args:
        connection: The connection, which redis-py has just opened.

    Attributes:
        connection: The same.
        transport: Its transport.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.transport: asyncio.Transport = connection._writer.transport
        self.transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(protocolError=exceptions.InvalidResponse, replyError=connection._parser.parse_error)
        self._answer: asyncio.Future[list[Any]] | None = None
        self._replies: list[Any] = []
        self._missing = 0

    def exchange(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send commands; the result is the list of their replies."""
        if self.transport.is_closing():
            raise exceptions.ConnectionError("Connection closed by server.")
        self._replies, self._missing = [], len(commands)
        self._answer = self._loop.create_future()
        self.transport.write(b"".join(map(_pack, commands)))
        return self._answer

    def data_received(self, data: bytes) -> None:
        answer, reader = self._answer, self._reader
        if answer is None or answer.done():
            self.transport.abort()  # nothing was asked, so the server is closing the connection
            return
        reader.feed(data)
        try:
            while self._missing and (reply := reader.gets()) is not False:
                self._replies.append(reply)
                self._missing -= 1
        except exceptions.InvalidResponse as error:
            answer.set_exception(error)
        else:
            if not self._missing:
                answer.set_result(self._replies)
                if reader.has_data():
                    self.transport.abort()  # else the next exchange would take it for a reply of its own

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            error = exceptions.ConnectionError(f"Connection lost: {exc}" if exc else "Connection closed by server.")
            error.__cause__ = exc
            self._answer.set_exception(error)

    async def close(self) -> None:
        """Close the connection without waiting for anything."""
        if self._missing:
            self.transport.abort()  # else a server that reads nothing would keep it open
        await self.connection.disconnect(nowait=True)


class Pool:
    """The connections to one server in one event loop; the caller limits their number.

    Args:
        kind: The class of the connections.
        options: The arguments of that class.

    Attributes:
        idle: The connections that nobody uses.
        is_closed: Whether the pool was closed.
    """

    def __init__(self, kind: type[AbstractConnection], options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._options = options
        self._connections: dict[Any, Channel | None] = {}
        self.idle: list[Channel] = []
        self.is_closed: bool = False

    async def exchange(self, commands: Sequence[Command], node: str = "") -> list[Any]:  # noqa: ARG002 - there is one node
        """Send commands in one round trip and return the replies; a reply that is an error is returned as one.

        Args:
            commands: What to send.
            node: The one of the `nodes` to send a single command to; empty if any will do.
        """
        while self.idle and self.idle[-1].transport.is_closing():
            await self._drop(self.idle.pop())
        channel = self.idle.pop() if self.idle else await self._connect()
        try:
            replies = await channel.exchange(commands)
        except BaseException:
            await self._drop(channel)
            raise
        self.idle.append(channel)
        return replies

    def nodes(self) -> list[str]:
        """Return the names of the nodes that hold sessions; a single empty one without a cluster."""
        return [""]

    async def refusal(self) -> str:
        """Return why the server refuses further connections, as far as it says so."""
        return await greeting(self._options)

    def is_used_up(self) -> bool:
        """Return whether all connections are in use, by the store or by others."""
        return False

    def sockets(self) -> list[int]:
        """Return the descriptors of the sockets that are open."""
        writers = [connection._writer for connection in self._connections if connection._writer is not None]
        return [number for each in writers if (number := each.get_extra_info("socket").fileno()) >= 0]

    async def disconnect(self) -> None:
        """Close all connections, those in use too, without waiting for anything."""
        for connection, channel in list(self._connections.items()):
            if channel is not None:
                await self._drop(channel)
            elif connection._writer is not None:
                connection._writer.transport.abort()  # so that the task that is opening it gets an error
        self.idle.clear()

    async def close(self, *, is_loop_closed: bool = False) -> None:
        """Close all connections for good.

        Args:
            is_loop_closed: Whether their event loop has ended, and with it the connections.
        """
        self.is_closed = True
        with contextlib.suppress(*[RuntimeError] if is_loop_closed else []):
            await self.disconnect()

    async def _drop(self, channel: Channel) -> None:
        self._connections.pop(channel.connection, None)
        await channel.close()

    async def _connect(self) -> Channel:
        connection: Any = self._kind(**self._options)
        has_others = any(each.is_connected for each in self._connections)
        self._connections[connection] = None
        try:
            await connection.connect()
            channel = self._connections[connection] = Channel(connection)
        except BaseException as error:
            del self._connections[connection]
            await connection.disconnect(nowait=True)
            if has_others:
                said = await greeting(self._options) if is_closed(error) else str(error)
                if is_full(said):
                    # Others of our own connections are free, or will be.
                    raise exceptions.MaxConnectionsError(said) from error
            raise
        if self.is_closed:
            await self._drop(channel)
            raise exceptions.ConnectionError("Connection closed, as the store was.")
        return channel


async def greeting(options: Mapping[str, Any]) -> str:
    """Return the error that a server sends to a new connection before any command; empty if there is none, as there should be.

    A server that refuses a connection says why and closes it. A client that writes at once usually loses that answer, since the
    network reports the closed connection first.

    Args:
        options: The arguments of a connection, among them `path`, or `host` and `port`.
    """
    try:
        async with asyncio.timeout(_GREETING_SECONDS):
            if "path" in options:
                reader, writer = await asyncio.open_unix_connection(options["path"])
            else:
                reader, writer = await asyncio.open_connection(options["host"], options["port"])
            try:
                said = await reader.read(_GREETING_BYTES)
            finally:
                writer.transport.abort()
    except OSError:
        return ""
    return said.decode(errors="replace").partition("\r\n")[0].removeprefix("-") if said.startswith(b"-") else ""
