"""A pool whose connections are given out and taken back at little cost.

redis-py's own takes a lock and counts for its metrics at each step, which costs a third of a command.
"""

from __future__ import annotations

from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection


class Pool(ConnectionPool):
    """Connections to one server, for one event loop."""

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        """Returns a connection that is open, or as good as new where the server has closed it meanwhile."""
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py
        try:
            if not connection.is_connected or await _is_stale(connection):
                await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Takes a connection back."""
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)

    def sockets(self) -> list[int]:
        """Returns the descriptors of the sockets that are open."""
        connections: list[Any] = [*self._available_connections, *self._in_use_connections]
        sockets = [each._writer.get_extra_info("socket") for each in connections if each._writer is not None]
        return [number for socket in sockets if (number := socket.fileno()) >= 0]


async def _is_stale(connection: AbstractConnection) -> bool:
    """Tells whether there is something to read although nothing was asked, such as the end."""
    try:
        return bool(await (connection.can_read() if _SAYS_CAN_READ else connection.can_read_destructive()))
    except (exceptions.RedisError, OSError):
        return True


_SAYS_CAN_READ = hasattr(AbstractConnection, "can_read")
"""Since redis-py 8; before, it was `can_read_destructive`."""
