"""The lock of one subdirectory: whoever holds it may change the sessions there, and their leases."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, Self

from botsession_file.leases import Leases
from botsession_file.opening import open_private

if TYPE_CHECKING:
    import threading

LOCK: Final = ".lock"
_LOCK_SECONDS: Final = 10.0


class AbandonedError(Exception):
    """Nobody waits for the call any more, so it must not change anything."""


class Call:
    """One call from the event loop to a worker thread; `abandoned` once its caller was cancelled."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


class Lock:
    """Takes turns, first with the other threads, so that only one of them asks the system for the lock file.

    Args:
        name: The subdirectory.
        directory: The same, open.
        thread: What the threads of this store take turns by.
        call: On whose behalf.

    Raises:
        AbandonedError: On entering; the caller was cancelled before anything was changed.
        TimeoutError: On entering; another process holds the lock and does not let go.
    """

    __slots__ = ("_call", "_descriptor", "_directory", "_name", "_thread")

    def __init__(self, name: str, directory: int, thread: threading.Lock, call: Call) -> None:
        self._name = name
        self._directory = directory
        self._thread = thread
        self._call = call

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _LOCK_SECONDS
        if not self._thread.acquire(timeout=_LOCK_SECONDS):
            raise self._held()
        try:
            self._descriptor = _open(self._directory)
            _descriptors.add(self._descriptor)
            try:
                self._wait(deadline)
            except BaseException:
                self._close()
                raise
        except BaseException:
            self._thread.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._close()
        finally:
            self._thread.release()

    def leases(self) -> Leases:
        """Reads the leases of the sessions here."""
        return Leases(self._descriptor)

    def _wait(self, deadline: float) -> None:
        pause = 0.0005
        while not _try(self._descriptor):
            if self._call.abandoned or time.monotonic() > deadline:
                raise self._held()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        if self._call.abandoned:
            raise AbandonedError

    def _close(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a process that was just forked may have it open as well
        finally:
            _descriptors.discard(self._descriptor)
            os.close(self._descriptor)

    def _held(self) -> TimeoutError:
        return TimeoutError(
            errno.ETIMEDOUT, f"the lock {self._name}/{LOCK} was held by somebody else for {_LOCK_SECONDS:.0f} s"
        )


def _open(directory: int) -> int:
    try:
        return os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return open_private(LOCK, os.O_RDWR | os.O_CREAT, directory)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_descriptors: Final[set[int]] = set()
"""Lock files that are open. A forked process closes its copies, or it would hold the locks of a parent that is killed."""


def _close_inherited() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_close_inherited)
