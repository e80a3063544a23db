"""A client of redis-py that was passed to the store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster

from botsession_redis.pool import Pool
from botsession_redis.scripts import Command

AnyClient = Redis | RedisCluster

_AS_BYTES: Final[dict[str, Any]] = {"NEVER_DECODE": True}
"""Has the client return bytes even if it was made with `decode_responses=True`."""


class GivenClient(Pool):
    """The connections of a client, which are opened and closed by the client alone.

    Args:
        client: The client.
    """

    def __init__(self, client: AnyClient) -> None:
        options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
        super().__init__(Connection, options)
        self._client: Any = client
        self._is_cluster = isinstance(client, RedisCluster)

    async def exchange(self, commands: Sequence[Command], node: str = "") -> list[Any]:
        try:
            if len(commands) == 1:
                target = self._client.get_node(node_name=node) if node else self._client
                try:
                    # The cluster client sends PING to all nodes, and cannot pass options on to what puts the replies together.
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
        return sorted(node.name for node in self._client.get_primaries()) if self._is_cluster else [""]

    async def refusal(self) -> str:
        return await super().refusal() if "host" in self._options or "path" in self._options else ""

    def is_used_up(self) -> bool:
        pool = getattr(self._client, "connection_pool", None)
        return isinstance(pool, ConnectionPool) and not pool.can_get_connection()


def connections_of(client: AnyClient) -> int:
    """Return how many connections a client opens at most, per node of a cluster."""
    if isinstance(client, RedisCluster):
        return int(client.connection_kwargs.get("max_connections", sys.maxsize))
    return int(getattr(client.connection_pool, "max_connections", sys.maxsize))
