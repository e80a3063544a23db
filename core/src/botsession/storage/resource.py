"""What a store opens in `init` and closes in `close`, such as a client or a pool of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from botsession.errors import StoreError
from botsession.storage.binding import LoopBinding

R = TypeVar("R")


class Resource(Generic[R]):
    """A resource of one process and, unless it is portable, of one event loop.

    After a fork it still belongs to the parent process: the new process must open another one, and never touches the old one.

    Args:
        name: The store that owns it, for errors, such as `the somedb store`.
        opening: Opens the resource.
        closing: Closes it.
        is_portable: Whether it can be used in another event loop when the one in which it was opened has ended. Otherwise it
            ends with its event loop.
        sockets: Returns the descriptors of its open sockets. After a fork, the new process gives up its copies of them, so that it
            neither writes to the parent's connections nor keeps them open.
    """

    def __init__(
        self,
        name: str,
        opening: Callable[[], Awaitable[R]],
        closing: Callable[[R], Awaitable[None]],
        *,
        is_portable: bool = False,
        sockets: Callable[[R], Iterable[int]] | None = None,
    ) -> None:
        self._name = name
        self._opening = opening
        self._closing = closing
        self._is_portable = is_portable
        self._sockets = sockets
        self._binding = LoopBinding(name, sockets=self._open_sockets)
        self._lock: asyncio.Lock
        self._value: R | None = None

    async def open(self) -> None:
        """Open the resource unless it is open. Concurrent calls open it once."""
        self._enter()
        async with self._lock:
            if self._value is None:
                self._binding.opened = self._value = await self._opening()

    async def close(self) -> None:
        """Close the resource if it is open and belongs to this process."""
        if self._value is None or self._binding.is_inherited:
            return
        self._enter()
        async with self._lock:
            value, self._value = self._value, None
            if value is not None:
                await self._closing(value)
                self._binding.leave()

    def get(self) -> R:
        """Return the open resource.

        Raises:
            StoreError: It is not open in this process and event loop.
        """
        if self._value is None:
            raise StoreError(f"{self._name} is not open", remedy="Call `await store.init()` first.")
        if self._is_portable and not self._binding.is_inherited:
            self._enter()
        else:
            self._binding.check()
        return self._value

    def _open_sockets(self) -> Iterable[int]:
        return () if self._sockets is None or self._value is None else self._sockets(self._value)

    def _enter(self) -> None:
        if self._binding.enter():
            self._lock = asyncio.Lock()
            if self._binding.was_inherited or not self._is_portable:
                self._value = None
