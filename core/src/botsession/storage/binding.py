"""The process, thread and event loop that an open resource belongs to."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import selectors
import signal
import threading
from asyncio import _get_running_loop as get_running_loop  # returns None where the other raises
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakSet

from botsession.errors import StoreError


class LoopBinding:
    """The process, thread and event loop that an object belongs to, from `enter` to `leave`.

    The object can move to another event loop when its own is closed, or is stopped in the same thread. It can move to a forked
    process only with an event loop that was started there.

    Args:
        name: The object, for errors, such as `the redis store`.
        sockets: Returns the descriptors of the open sockets. A forked process replaces its copies of them, which could write into
            the parent's connections, and would keep them open after the parent has closed them.

    Attributes:
        opened: What was opened in the event loop. A forked process keeps its copy forever, so that no destructor closes it.
        was_inherited: Whether the binding before the latest `enter` was the parent process's.
    """

    __slots__ = ("__weakref__", "_loop", "_name", "_process", "_sockets", "_thread", "opened", "was_inherited")

    def __init__(self, name: str, *, sockets: Callable[[], Iterable[int]] = tuple) -> None:
        self.opened: object = None
        self._sockets = sockets
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread
        self._process = _forks
        self.was_inherited: bool = False

    @property
    def is_inherited(self) -> bool:
        """Whether the parent process entered it, and still owns what was opened."""
        return self._process != _forks and self._loop is not None

    @property
    def is_entered(self) -> bool:
        """Whether it was entered, here or elsewhere, and not left."""
        return self._loop is not None

    def check(self) -> None:
        """Raise a `StoreError` unless the object belongs to the running event loop."""
        if get_running_loop() is not self._loop or self._process != _forks or self._loop is None:
            raise self._obstacle(get_running_loop()) or self._not_entered()

    def enter(self) -> bool:
        """Bind the object to the running event loop.

        Returns:
            Whether it was not bound to it before, so that what was opened in another one cannot be used any more.

        Raises:
            StoreError: The object belongs to another event loop that is open, or this one was inherited by a fork.
        """
        if get_running_loop() is self._loop and self._process == _forks and self._loop is not None:
            return False
        with _moving:
            loop = get_running_loop()
            if obstacle := self._obstacle(loop):
                raise obstacle
            self.was_inherited = self.is_inherited
            self._loop, self._thread, self._process = loop, threading.current_thread(), _forks
            _homes.add(self)
        return True

    def leave(self) -> None:
        """Let the object be opened anywhere."""
        self._loop, self._process, self.opened = None, _forks, None

    def _obstacle(self, loop: asyncio.AbstractEventLoop | None) -> StoreError | None:
        """Return why the object cannot be entered here; `None` if it can."""
        if loop is not None and loop in _inherited:
            return StoreError(
                f"{self._name} cannot be used in an event loop that was started before this process was forked",
                remedy="Start a new one in this process, for example with asyncio.run, and call init() in it.",
            )
        if loop is None:
            return StoreError(
                f"{self._name} needs a running event loop, and one from before a fork does not run in the new process",
                remedy="Start one in this process, for example with asyncio.run, and call init() in it.",
            )
        old = self._loop
        if old is None or old is loop or self.is_inherited or old.is_closed():
            return None
        if old.is_running() or (self._thread.is_alive() and self._thread is not threading.current_thread()):
            return StoreError(
                f"{self._name} belongs to another event loop, which is open in the thread {self._thread.name!r}",
                remedy="Give each thread and event loop one of its own, or close this one there first.",
            )
        return None

    def _not_entered(self) -> StoreError:
        """Return why the object cannot be used here before it is entered."""
        if self._loop is None:
            return StoreError(f"{self._name} is not open", remedy="Call `await init()` first.")
        if self.is_inherited:
            return StoreError(
                f"{self._name} was opened before this process was forked", remedy="Call `await init()` in this process."
            )
        return StoreError(
            f"{self._name} was opened in another event loop, which has ended", remedy="Call `await init()` in this one."
        )


_forks = 0
"""How often this process and its ancestors were forked; each process has another number than its parent."""

_moving = threading.Lock()
_homes: WeakSet[LoopBinding] = WeakSet()
_inherited: Final[set[asyncio.AbstractEventLoop]] = set()
_kept: Final[list[object]] = []


def keep(*inherited: object) -> None:
    """Keep forever what the parent process owns, so that no destructor touches it in this process."""
    _kept.extend(inherited)


def _begin_in_child() -> None:
    global _forks, _moving  # noqa: PLW0603 - the state of the process
    _forks += 1
    _moving = threading.Lock()  # another thread of the parent may have held it
    homes = [home for home in list(_homes) if home._loop is not None]
    for home in homes:
        keep(home.opened)
        if home._loop is not None and home._loop not in _inherited:
            _inherited.add(home._loop)
            _detach(home._loop)
    if _inherited:
        atexit.register(_keep_beyond_the_end)
    for home in homes:
        _let_go(home._sockets())


def _let_go(sockets: Iterable[int]) -> None:
    """Replace sockets by the null device. If they were closed, other files could get the numbers that their owners still use."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for socket in sockets:
        with contextlib.suppress(OSError):
            os.dup2(nothing, socket, inheritable=False)
    os.close(nothing)


def _detach(loop: asyncio.AbstractEventLoop) -> None:
    """Replace what an inherited asyncio event loop shares with the parent's: the selector, and the pipe that wakes it.

    Both processes share a selector such as epoll. Without this, closing the loop, which the end of the interpreter does, would
    unregister the parent's connections, and running it would read the parent's replies. Other event loops, such as uvloop, do this
    by themselves.
    """
    if loop.is_closed() or not isinstance(loop, asyncio.SelectorEventLoop):
        return
    mine: Any = loop
    keep(mine._selector)
    wakes = signal.set_wakeup_fd(-1)
    if wakes not in (-1, mine._csock.fileno()):
        signal.set_wakeup_fd(wakes)
    mine._selector = selectors.DefaultSelector()
    mine._close_self_pipe()
    mine._make_self_pipe()


def _keep_beyond_the_end() -> None:
    """Hide from the interpreter, which destroys everything at its end, what would then write to the parent's sockets."""
    with contextlib.suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object([_kept, _inherited]))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
