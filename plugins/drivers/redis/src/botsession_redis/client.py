"""A client of redis-py that was passed to the store, which never closes it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, RedisCluster

from botsession_redis.pool import greeting
from botsession_redis.scripts import Command

AnyClient = Redis | RedisCluster

_AS_BYTES: Final[dict[str, Any]] = {"NEVER_DECODE": True}
"""Has the client return bytes even if it was made with `decode_responses=True`."""


class GivenClient:
    """A client with the methods of a `Pool`.

    Args:
        client: The client.

    Attributes:
        is_closed: Whether the store that uses it was closed.
    """

    def __init__(self, client: AnyClient) -> None:
        self._client: Any = client
        self._is_cluster = isinstance(client, RedisCluster)
        self.is_closed = False

    async def exchange(self, commands: Sequence[Command], node: str = "") -> list[Any]:
        """Send commands and return the replies; a reply that is an error is returned as one.

        Args:
            commands: What to send.
            node: The node of a cluster to send a single command to; empty to let the client choose.
        """
        try:
            if len(commands) == 1:
                target = self._client.get_node(node_name=node) if node else self._client
                try:
                    # A cluster client cannot pass options on with PING, which goes to all nodes.
                    options = {} if commands[0] == ("PING",) else _AS_BYTES
                    return [await target.execute_command(*commands[0], **options)]
                except exceptions.ResponseError as error:
                    return [error]
            pipeline = self._client.pipeline() if self._is_cluster else self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command, **_AS_BYTES)
            return list(await pipeline.execute(raise_on_error=False))
        except AttributeError as error:
            if not self._is_cluster:
                raise
            # A cluster client that learns of moved slots closes connections that its other tasks are opening.
            raise exceptions.ConnectionError("the client closed the connection while it was being opened") from error

    def nodes(self) -> list[str]:
        """Return the names of the nodes that hold sessions: of a cluster's primaries, or one without a name."""
        return sorted(node.name for node in self._client.get_primaries()) if self._is_cluster else [""]

    async def refusal(self) -> str:
        """Return why the server refuses further connections, as far as it says so and its address is known."""
        options = getattr(getattr(self._client, "connection_pool", None), "connection_kwargs", {})
        return await greeting(options) if "host" in options or "path" in options else ""

    def is_used_up(self) -> bool:
        """Return whether all connections are in use: by the store, or by others."""
        pool = getattr(self._client, "connection_pool", None)
        return isinstance(pool, ConnectionPool) and not pool.can_get_connection()

    def sockets(self) -> list[int]:
        """Return nothing: the connections belong to the client."""
        return []

    async def disconnect(self) -> None:
        """Do nothing: the connections belong to the client."""

    async def close(self, *, is_loop_closed: bool = False) -> None:  # noqa: ARG002 - as of a `Pool`
        """Use the client no longer."""
        self.is_closed = True


def connections_of(client: AnyClient) -> int:
    """Return how many connections a client opens at most, per node of a cluster."""
    if isinstance(client, RedisCluster):
        return int(client.connection_kwargs.get("max_connections", sys.maxsize))
    return int(getattr(client.connection_pool, "max_connections", sys.maxsize))
