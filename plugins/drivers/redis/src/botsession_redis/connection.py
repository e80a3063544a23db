"""The way to the server: opening, limits, repetition, and scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

from redis import exceptions
from redis.asyncio import RedisCluster

from botsession import CorruptSessionError, StoreError
from botsession.storage.binding import LoopBinding
from botsession_redis.address import Address
from botsession_redis.client import AnyClient, GivenClient
from botsession_redis.errors import CLIENT_ERRORS, check_mode, explain, has_none_free, is_closed, is_wrong_type
from botsession_redis.pool import Pool
from botsession_redis.scripts import Argument, Call, Command, Script

CALLS_AT_ONCE: Final = 128
"""For how many sessions one run of a script works; the server does nothing else during it."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
"""Seconds between attempts while others use all connections of a client, which does not say when one is free."""


class Connection:
    """The way to the server, for one event loop at a time.

    At most `limit` operations use the server at once, and the others queue. Queueing, connecting, sending and receiving together
    take at most `timeout` seconds.

    Args:
        source: The address of the server, or a client of it.
        server: A description of the server, without secrets.
        store: A description of the store, without secrets.
        timeout: How long an operation may take, in seconds.
        limit: How many operations may use the server at once.

    Attributes:
        binding: The event loop to which the connection belongs.
        is_cluster: Whether the keys of one script must share a hash slot.
        is_open: Whether it is between `open` and `close`.
    """

    def __init__(self, source: Address | AnyClient, server: str, *, store: str, timeout: float, limit: int) -> None:
        self._source = source
        self._server = server
        self._store = store
        self._timeout = timeout
        self._limit = limit
        self._transport: Pool | None = None
        self._places: asyncio.Semaphore
        self._time_limit: TimeLimit
        self.binding: LoopBinding = LoopBinding(
            "the redis store", sockets=lambda: self._transport.sockets() if self._transport is not None else ()
        )
        self.is_cluster: Final = isinstance(source, RedisCluster)
        self.is_open: bool = False

    async def open(self) -> None:
        """Make sure that the server answers, and that it holds all of the sessions."""
        inherited = self.binding.is_inherited
        if inherited and not isinstance(self._source, Address):
            raise StoreError(
                "the redis store was made with a client that the parent process uses",
                remedy="Make a client and a store of its own in this process.",
            )
        if self.binding.enter() or self._transport is None:
            stale = None if inherited else self._transport
            source = self._source
            self._transport = Pool(source.kind, source.options) if isinstance(source, Address) else GivenClient(source)
            self.binding.opened, self.is_open = self._transport, False
            self._places = asyncio.Semaphore(self._limit)
            self._time_limit = TimeLimit(self._timeout, asyncio.get_running_loop())
            if stale is not None:
                await stale.close(is_loop_closed=True)
        transport = self._transport
        try:
            await self._check_server()
        except BaseException:
            if not self.is_open:
                await transport.disconnect()
            raise
        self.is_open = True

    async def _check_server(self) -> None:
        # No ACL user is refused a HELLO without arguments, which changes nothing.
        pong, *hello = await self.send([("PING",)] if self.is_cluster else [("PING",), ("HELLO",)])
        if isinstance(pong, Exception):
            raise self.explain(pong)
        check_mode(_mode(*hello), self._server)

    async def close(self) -> None:
        """Close the connections that were opened here, and not by the parent process."""
        if self._transport is None or self.binding.is_inherited:
            return
        is_loop_closed = self.binding.enter()
        transport, self._transport, self.is_open, self.binding.opened = self._transport, None, False, None
        await transport.close(is_loop_closed=is_loop_closed)
        if self._transport is None:
            self.binding.leave()

    async def send(self, commands: Sequence[Command], *, again: bool = True, node: str = "") -> list[Any]:
        """Send commands in one round trip and return the replies; a reply that is an error is returned as one.

        Args:
            commands: What to send.
            again: Whether it may be sent a second time if the connection is lost.
            node: The one of the `nodes` to send a single command to.
        """
        transport = self._transport
        none_free: Exception | None = None
        pause = _FIRST_PAUSE
        try:
            with self._time_limit:
                async with self._places:
                    while True:
                        if transport is None or transport.is_closed:
                            raise StoreError("the redis store was closed while it was in use")
                        try:
                            return await transport.exchange(commands, node)
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
            greeting = await transport.refusal() if transport and is_closed(error) else ""
            used_up = transport is not None and transport.is_used_up()
            raise explain(error, self._server, self._timeout, greeting=greeting, used_up=used_up) from error

    async def run(self, script: Script, calls: Sequence[Call], *, again: bool = True) -> list[Any]:
        """Run a script for many sessions; return for each what the script returned, or an error."""
        size = 1 if self.is_cluster else CALLS_AT_ONCE
        batches = [calls[start : start + size] for start in range(0, len(calls), size)]
        replies = await self.send(list(map(script.by_digest, batches)), again=again)
        if exceptions.NoScriptError in map(type, replies):
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
            loaded = await self.send([script.by_text(batches[index]) for index in unknown], again=again)
            for index, reply in zip(unknown, loaded, strict=True):
                replies[index] = reply
        outcomes: list[Any] = []
        for batch, reply in zip(batches, replies, strict=True):
            outcomes += reply if isinstance(reply, list) else [reply] * len(batch)
        return outcomes

    def nodes(self) -> list[str]:
        """Return the names of a cluster's primaries; without a cluster, a single empty one."""
        return [""] if self._transport is None else self._transport.nodes()

    async def ask(self, node: str, *command: Argument) -> Any:
        """Send one command to one of the `nodes`.

        Returns:
            The reply, which a given client may have parsed.

        Raises:
            StoreError: The reply is an error.
        """
        [reply] = await self.send([command], node=node)
        if isinstance(reply, Exception):
            raise self.explain(reply)
        return reply

    def explain(self, error: Exception, session_id: str | None = None) -> StoreError:
        """Return the error of botsession for one of redis-py, about a single session if its id is given."""
        if session_id is not None and is_wrong_type(error):
            reason = "its key holds something other than a string"
            corrupt = CorruptSessionError(session_id, store=self._store, raw=str(error).encode(), reason=reason)
            corrupt.__cause__ = error
            return corrupt
        return explain(error, self._server, self._timeout)


class TimeLimit:
    """A context manager that raises `TimeoutError` if its block takes too long, as `asyncio.timeout` does.

    `asyncio.timeout` sets a timer for each block, which costs as much as sending a command. Here all blocks have the same limit, so
    the one that began first ends first, and a single timer is enough. A task enters one block at a time.

    Args:
        seconds: The limit.
        loop: The event loop in which the blocks run.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._running: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._interrupted: dict[asyncio.Task[Any], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task: Any = asyncio.current_task()
        self._running[task] = time.monotonic() + self._seconds, task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._interrupt_overdue)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is GeneratorExit:
            return  # the task was thrown away, and the current one is another
        task: Any = asyncio.current_task()
        if self._running.pop(task, None) is not None:
            return
        cancelling = self._interrupted.pop(task)
        if task.uncancel() <= cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _interrupt_overdue(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, (due, cancelling) in list(self._running.items()):
            if due > now:
                self._timer = self._loop.call_later(due - now, self._interrupt_overdue)
                return
            del self._running[task]
            self._interrupted[task] = cancelling
            task.cancel()


def _mode(hello: Any = None) -> str:
    """Return the mode that a server states; empty if it does not know HELLO."""
    if isinstance(hello, list):
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    if not isinstance(hello, dict):
        return ""
    mode = hello.get(b"mode", hello.get("mode", ""))
    return mode.decode() if isinstance(mode, bytes) else str(mode)
