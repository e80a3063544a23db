"""The link to the server: connections, timeouts, repetition, pipelines and scripts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection

from botsession import CorruptSessionError, StoreError
from botsession.storage.binding import LoopBinding
from botsession_redis.connecting import PoolMaker
from botsession_redis.failures import CLIENT_ERRORS, check_mode, explain, has_hung_up, has_none_free, is_no_string
from botsession_redis.greeting import greeting
from botsession_redis.pool import Pool
from botsession_redis.scripts import Argument, Call, Command, Script
from botsession_redis.time_limit import TimeLimit

T = TypeVar("T")

Client = Redis | RedisCluster

CALLS_AT_ONCE: Final = 128
"""For how many sessions one run of a script works; the server does nothing else meanwhile."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
"""Seconds between attempts while somebody else has all connections of a client, which does not tell when one is free."""

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
        self._binding = LoopBinding("the redis store", sockets=self._sockets)
        self._turns: asyncio.Semaphore
        self._time_limit: TimeLimit
        self._open = False

    async def open(self) -> None:
        """Makes sure that the server answers."""
        inherited = self._binding.is_inherited
        if inherited and not callable(self._source):
            raise StoreError(
                "the redis store was made with a client that the parent process uses. "
                "Make a client and a store of its own in this process"
            )
        if self._binding.enter() or self._client is None:
            stale = None if inherited else self._client
            self._client = Redis.from_pool(self._source()) if callable(self._source) else self._source
            self._binding.opened, self._open = self._client, False
            self._turns = asyncio.Semaphore(self._limit)
            self._time_limit = TimeLimit(self._timeout, asyncio.get_running_loop())
            if stale is not None:
                await self._release(stale, ended=True)
        client = self._client
        try:
            await self._ask(self._meet)
        except BaseException:
            if not self._open:
                await self._release(client)
            raise
        self._open = True

    async def close(self) -> None:
        """Closes the connections that were opened here, and not by the parent process."""
        if self._client is None or self._binding.is_inherited:
            return
        ended = self._binding.enter()
        client, self._client, self._open, self._binding.opened = self._client, None, False, None
        await self._release(client, ended=ended)
        if self._client is None:
            self._binding.leave()

    def check_open(self) -> None:
        """Refuses to work outside of `open` and `close`."""
        if not self._open:
            raise StoreError("the redis store is not open. Call `await init()` first")
        self._binding.check()

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

    async def _meet(self, client: Any) -> None:
        """Makes sure that the server answers, and that it keeps all of the sessions."""
        if self.is_cluster:
            await client.execute_command("PING")
            return
        # No ACL user is refused a HELLO without arguments, which changes nothing.
        pong, hello = await self._exchange(client, [("PING",), ("HELLO",)])
        if isinstance(pong, Exception):
            raise pong
        check_mode(_mode(hello), self._server)

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
        none_free: Exception | None = None
        pause = _FIRST_PAUSE
        try:
            with self._time_limit.operation():
                async with self._turns:
                    while True:
                        if client is not self._client:
                            raise StoreError("the redis store was closed meanwhile")
                        try:
                            return await _called(call, client)
                        except exceptions.ConnectionError as error:
                            if has_none_free(error):
                                none_free = error
                            elif again and type(error) is exceptions.ConnectionError:  # its subclasses are refusals
                                none_free, again = None, False
                                continue
                            else:
                                raise
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE)
        except CLIENT_ERRORS as error:
            if none_free is not None and isinstance(error, TimeoutError):
                raise self.explain(none_free) from none_free
            said = await self._greeting() if has_hung_up(error) else ""
            raise explain(error, self._server, self._timeout, greeting=said, used_up=self._is_used_up()) from error

    def _is_used_up(self) -> bool:
        """Tells whether the pool of a given client has no connection left: by us, or by others."""
        pool = getattr(self._source, "connection_pool", None)
        return isinstance(pool, ConnectionPool) and not pool.can_get_connection()

    async def _greeting(self) -> str:
        """Returns why the server takes no further connection, as far as it says so and its address is known."""
        options = getattr(getattr(self._client, "connection_pool", None), "connection_kwargs", {})
        return await greeting(options) if callable(self._source) or "host" in options or "path" in options else ""

    async def _release(self, client: Client, *, ended: bool = False) -> None:
        """Closes a client that was made here; its connections are gone already if their event loop has ended."""
        if callable(self._source):
            with contextlib.suppress(*[RuntimeError] if ended else []):
                await client.aclose()


def _mode(hello: Any) -> str:
    """Returns what the server calls itself; empty where it does not know HELLO."""
    if isinstance(hello, list):
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    if not isinstance(hello, dict):
        return ""
    mode = hello.get(b"mode", hello.get("mode", ""))
    return mode.decode() if isinstance(mode, bytes) else str(mode)


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
