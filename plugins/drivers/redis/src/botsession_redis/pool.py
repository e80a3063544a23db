"""A pool whose connections are given out and taken back at little cost.

redis-py's own takes a lock and counts for its metrics at each step, which costs a third of a command.
"""

from __future__ import annotations

from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from botsession_redis.failures import has_hung_up, is_full
from botsession_redis.greeting import greeting


class Pool(ConnectionPool):
    """Connections to one server, for one event loop; how many there are is up to who asks for them.

    Attributes:
        idle: Those that nobody uses.
        in_use: The others.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.idle: list[AbstractConnection] = []
        self.in_use: set[AbstractConnection] = set()
        self._closed = False

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        """Returns a connection that is open, or as good as new where the server has closed it meanwhile."""
        connection = self.idle.pop() if self.idle else self.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        self.in_use.add(connection)
        try:
            if not connection.is_connected or await _is_stale(connection):
                await self.ensure_connection(connection)
        except BaseException as error:
            await self.release(connection)
            if any(each.is_connected for each in (*self.idle, *self.in_use)):
                said = await greeting(self.connection_kwargs) if has_hung_up(error) else str(error)
                if is_full(said):
                    # There are others of ours that are free, or will be.
                    raise exceptions.MaxConnectionsError(said) from error
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Takes a connection back."""
        self.in_use.remove(connection)
        # The one that is given out next is open, as long as there is one.
        self.idle.insert(len(self.idle) if connection.is_connected else 0, connection)
        if self._closed:
            await connection.disconnect(nowait=True)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: ARG002 - as in redis-py
        """Closes the connections, those in use too, without a wait in which it could be cancelled."""
        self._closed = True
        for connection in [*self.idle, *self.in_use]:
            await connection.disconnect(nowait=True)

    def sockets(self) -> list[int]:
        """Returns the descriptors of the sockets that are open."""
        connections: list[Any] = [*self.idle, *self.in_use]
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
