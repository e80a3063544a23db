"""The link to the server: connections, timeouts, repetition, pipelines and scripts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection

from botsession import CorruptSessionError, StoreError
from botsession.home import Home
from botsession_redis.connecting import PoolMaker
from botsession_redis.failures import CLIENT_ERRORS, explain, is_no_string
from botsession_redis.pool import Pool
from botsession_redis.scripts import Argument, Call, Command, Script
from botsession_redis.time_limit import TimeLimit

T = TypeVar("T")

Client = Redis | RedisCluster

CALLS_AT_ONCE: Final = 128
"""For how many sessions one run of a script works; the server does nothing else meanwhile."""

_AS_BYTES: Final[dict[str, Any]] = {"NEVER_DECODE": True}
"""Has the client return bytes although it may have been made with `decode_responses=True`."""


class Link:
    """The way to the server, for one event loop at a time.

    Not more than `limit` operations talk to the server at once; the others wait for their turn. Waiting, connecting,
    sending and receiving take at most `timeout` seconds together.

    Attributes:
        is_cluster: Whether the keys of one script must lie together.
    """

    def __init__(self, source: PoolMaker | Client, server: str, *, store: str, timeout: float, limit: int) -> None:
        self._server = server
        self._store = store
        self._source = source
        self.is_cluster: Final = isinstance(source, RedisCluster)
        self._timeout = timeout
        self._limit = limit
        self._client: Client | None = None
        self._home = Home("the redis store", sockets=self._sockets)
        self._turns: asyncio.Semaphore
        self._time_limit: TimeLimit
        self._open = False

    async def open(self) -> None:
        """Makes sure that the server answers."""
        inherited = self._home.is_inherited
        if inherited and not callable(self._source):
            raise StoreError(
                "the redis store was made with a client that the parent process uses. "
                "Make a client and a store of its own in this process"
            )
        if self._home.enter() or self._client is None:
            stale = None if inherited else self._client
            self._client = Redis.from_pool(self._source()) if callable(self._source) else self._source
            self._home.opened, self._open = self._client, False
            self._turns = asyncio.Semaphore(self._limit)
            self._time_limit = TimeLimit(self._timeout, asyncio.get_running_loop())
            if stale is not None:
                await self._release(stale, ended=True)
        client = self._client
        try:
            await self._ask(lambda client: client.execute_command("PING"))
        except BaseException:
            if not self._open:
                await self._release(client)
            raise
        self._open = True

    async def close(self) -> None:
        """Closes the connections that were opened here, and not by the parent process."""
        if self._client is None or self._home.is_inherited:
            return
        ended = self._home.enter()
        client, self._client, self._open, self._home.opened = self._client, None, False, None
        await self._release(client, ended=ended)
        if self._client is None:
            self._home.leave()

    def check_open(self) -> None:
        """Refuses to work outside of `open` and `close`."""
        if not self._open:
            raise StoreError("the redis store is not open. Call `await init()` first")
        self._home.check()

    async def send(self, *command: Argument, again: bool = True) -> Any:
        """Sends one command whose reply is no text.

        Args:
            *command: Its name and arguments.
            again: Whether it may be sent a second time where the connection was lost.
        """
        self.check_open()
        return await self._ask(lambda client: client.execute_command(*command), again=again)

    async def send_all(self, commands: Sequence[Command], *, again: bool = True) -> list[Any]:
        """Sends many commands at once; a reply that is an error is returned as one."""
        self.check_open()

        if not commands:
            return []
        return await self._ask(lambda client: self._exchange(client, commands), again=again)

    async def run(self, script: Script, calls: Sequence[Call], *, again: bool = True) -> list[Any]:
        """Runs a script for many sessions: for each what it returned, or an error."""
        size = 1 if self.is_cluster else CALLS_AT_ONCE
        batches = [calls[start : start + size] for start in range(0, len(calls), size)]
        replies = await self.send_all([script.by_digest(batch) for batch in batches], again=again)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        loaded = await self.send_all([script.by_text(batches[index]) for index in unknown], again=again)
        for index, reply in zip(unknown, loaded, strict=True):
            replies[index] = reply
        outcomes: list[Any] = []
        for batch, reply in zip(batches, replies, strict=True):
            outcomes += reply if isinstance(reply, list) else [reply] * len(batch)
        return outcomes

    def nodes(self) -> dict[str, Any]:
        """Returns the client under an empty name, or each primary of a cluster under its own."""
        self.check_open()
        if isinstance(self._client, RedisCluster):
            return {node.name: node for node in sorted(self._client.get_primaries(), key=lambda each: each.name)}
        return {"": self._client}

    async def ask(self, node: Any, *command: Argument, **options: Any) -> Any:
        """Sends one command to one of the `nodes`; the client parses the reply as the options say."""
        return await self._ask(lambda _: node.execute_command(*command, **options))

    async def scan(self, cursor: int, node: str, *arguments: Argument) -> tuple[list[bytes], int, str] | None:
        """Takes one step of SCAN, through one node of a cluster after the other.

        Args:
            cursor: Where to go on; 0 at the beginning.
            node: The node to go on with; empty for the first one, and where there is no cluster.
            *arguments: MATCH and COUNT.

        Returns:
            Keys, and the next cursor and node, 0 and empty after the last step; `None` where there is no such node.
        """
        nodes = self.nodes()
        names = list(nodes)
        node = node or names[0]
        if node not in nodes:
            return None
        following, keys = await self.ask(nodes[node], "SCAN", cursor, *arguments, **_AS_BYTES)
        if not int(following):
            rest = names[names.index(node) + 1 :]
            node = rest[0] if rest else ""
        return keys, int(following), node

    def explain(self, error: Exception, session_id: str | None = None) -> StoreError:
        """Returns the error of botsession for one of the client, about one session where that is known."""
        if session_id is not None and is_no_string(error):
            reason = "the key holds something else than a string"
            corrupt = CorruptSessionError(session_id, store=self._store, raw=str(error).encode(), reason=reason)
            corrupt.__cause__ = error
            return corrupt
        return explain(error, self._server, self._timeout)

    def _sockets(self) -> list[int]:
        pool = getattr(self._client, "connection_pool", None)
        return pool.sockets() if isinstance(pool, Pool) else []

    async def _exchange(self, client: Any, commands: Sequence[Command]) -> list[Any]:
        if callable(self._source):
            return await _exchange(client.connection_pool, commands)
        if len(commands) == 1:
            try:
                return [await client.execute_command(*commands[0], **_AS_BYTES)]
            except exceptions.ResponseError as error:
                return [error]
        pipeline = client.pipeline() if self.is_cluster else client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command, **_AS_BYTES)
        return list(await pipeline.execute(raise_on_error=False))

    async def _ask(self, call: Callable[[Any], Awaitable[T]], *, again: bool = True) -> T:
        client = self._client
        try:
            with self._time_limit.operation():
                async with self._turns:
                    if client is not self._client:
                        raise StoreError("the redis store was closed meanwhile")
                    try:
                        return await _called(call, client)
                    except exceptions.ConnectionError as error:
                        # Its subclasses are refusals; and what was closed must not connect again.
                        if not again or type(error) is not exceptions.ConnectionError or client is not self._client:
                            raise
                        return await _called(call, client)
        except CLIENT_ERRORS as error:
            raise self.explain(error) from error

    async def _release(self, client: Client, *, ended: bool = False) -> None:
        """Closes a client that was made here; its connections are gone already if their event loop has ended."""
        if callable(self._source):
            with contextlib.suppress(*[RuntimeError] if ended else []):
                await client.aclose()


async def _called(call: Callable[[Any], Awaitable[T]], client: Client | None) -> T:
    """Calls a client; that of a cluster closes, once it hears of moved slots, what others of its tasks are opening."""
    try:
        return await call(client)
    except AttributeError as error:
        if not isinstance(client, RedisCluster):
            raise
        raise exceptions.ConnectionError("the client closed the connection while it was being opened") from error


async def _exchange(pool: Pool, commands: Sequence[Command]) -> list[Any]:
    """Sends commands over one connection and reads the replies, without what a client does around each command."""
    connection = await pool.get_connection()
    try:
        packed = [each for command in commands for each in connection.pack_command(*command)]
        await connection.send_packed_command(packed)
        return [await _reply(connection) for _ in commands]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except exceptions.ResponseError as error:
        return error
