"""Where something was opened: the process, the thread and the event loop that it belongs to."""

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
    """The process, thread and event loop that something belongs to, from `enter` to `leave`.

    It moves to another event loop once its own is closed, or is stopped in the same thread, and to another process with an
    event loop of that process only.

    Args:
        name: What belongs there, for errors, such as `the redis store`.
        sockets: Returns the descriptors of the sockets that are open. After a fork the new process lets go of its copies,
            which could write into the parent's connections, and would keep them open when the parent closes them.

    Attributes:
        opened: What was opened there. After a fork the new process keeps its copy for ever, so that no destructor closes it.
        was_inherited: Whether the home before, which it has left by `enter`, was the parent process's.
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
        """Whether it was entered by the process that this one was forked from, which still owns what was opened."""
        return self._process != _forks and self._loop is not None

    @property
    def is_entered(self) -> bool:
        """Whether it was entered, here or elsewhere, and not left."""
        return self._loop is not None

    def check(self) -> None:
        """Raise a `StoreError` that says what to do unless this is home."""
        if get_running_loop() is not self._loop or self._process != _forks or self._loop is None:
            raise StoreError(self._reason(get_running_loop()) or self._moved())

    def enter(self) -> bool:
        """Make the running event loop the home.

        Returns:
            Whether it was not before: what was opened in the old one is over.

        Raises:
            StoreError: LoopBinding is another event loop that is open, or this one belongs to the parent process.
        """
        if get_running_loop() is self._loop and self._process == _forks and self._loop is not None:
            return False
        with _moving:
            loop = get_running_loop()
            reason = self._reason(loop)
            if loop is None or reason:
                raise StoreError(reason)
            self.was_inherited = self.is_inherited
            self._loop, self._thread, self._process = loop, threading.current_thread(), _forks
            _homes.add(self)
        return True

    def leave(self) -> None:
        """Let it be opened anywhere."""
        self._loop, self._process, self.opened = None, _forks, None

    def _reason(self, loop: asyncio.AbstractEventLoop | None) -> str:
        """Return why it cannot be entered here; empty if it can."""
        if loop is not None and loop in _inherited:
            return (
                f"{self._name} cannot be used in an event loop that was made before this process was forked. "
                "Start a new one in this process, such as by asyncio.run, and call init() in it"
            )
        if loop is None:
            return (
                f"{self._name} needs a running event loop, and one from before a fork does not run in the new process. "
                "Start one in this process, such as by asyncio.run, and call init() in it"
            )
        old = self._loop
        if old is None or old is loop or self.is_inherited or old.is_closed():
            return ""
        if old.is_running() or (self._thread.is_alive() and self._thread is not threading.current_thread()):
            return (
                f"{self._name} belongs to another event loop, which is open in the thread {self._thread.name!r}. "
                "Give each thread and event loop one of its own, or close this one there first"
            )
        return ""

    def _moved(self) -> str:
        """Return why it cannot be used here before it is entered."""
        if self._loop is None:
            return f"{self._name} is not open. Call `await init()` first"
        if self.is_inherited:
            return f"{self._name} was opened before this process was forked. Call `await init()` in this process"
        return f"{self._name} was opened in another event loop, which has ended. Call `await init()` in this one"


_forks = 0
"""How often this process and its ancestors were forked: in each process another number than in its parent."""

_moving = threading.Lock()
_homes: WeakSet[LoopBinding] = WeakSet()
_inherited: Final[set[asyncio.AbstractEventLoop]] = set()
_kept: Final[list[object]] = []


def keep(*inherited: object) -> None:
    """Keep for ever what the parent process owns, so that no destructor touches it in this process."""
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
    """Put nothing in the place of sockets: if they were closed, others would get their numbers, unknown to their owners."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for socket in sockets:
        with contextlib.suppress(OSError):
            os.dup2(nothing, socket, inheritable=False)
    os.close(nothing)


def _detach(loop: asyncio.AbstractEventLoop) -> None:
    """Take from an inherited event loop of asyncio what it shares with the parent's: the selector, and the pipe that wakes it.

    A selector such as epoll is one for both processes. Without this, the child would unregister the parent's connections by
    closing the loop, which the end of the interpreter does, and would read the parent's replies by running it. Other kinds
    of loops, such as uvloop's, do the like by themselves.
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
    """Keep from the interpreter, which destroys everything when it ends, what would write to the parent's sockets by that."""
    with contextlib.suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object([_kept, _inherited]))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
