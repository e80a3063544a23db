"""The lock of a shard: its holder may change the sessions and the leases there."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, Self

from botsession_file.files import open_private
from botsession_file.leases import LeaseFile

if TYPE_CHECKING:
    import threading

LOCK: Final = ".lock"
_LOCK_SECONDS: Final = 10.0


class AbandonedError(Exception):
    """The caller was cancelled, so the call must not change anything."""


class Call:
    """One call from the event loop to a worker thread; `abandoned` after its caller was cancelled."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned: bool = False


class Lock:
    """The lock of one shard, as a context manager.

    It is taken among the threads of this store first, so that only one of them at a time asks the system for the lock file.

    Args:
        shard: The name of the shard.
        directory: The shard, open.
        thread: The lock that the threads of this store share.
        call: The call that needs the lock.

    Raises:
        AbandonedError: On entering, if the caller was cancelled.
        TimeoutError: On entering, if another process holds the lock for too long.
    """

    __slots__ = ("_call", "_descriptor", "_directory", "_shard", "_thread")

    def __init__(self, shard: str, directory: int, thread: threading.Lock, call: Call) -> None:
        self._shard = shard
        self._directory = directory
        self._thread = thread
        self._call = call

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _LOCK_SECONDS
        if not self._thread.acquire(timeout=_LOCK_SECONDS):
            raise self._timeout()
        try:
            self._descriptor = open_private(LOCK, os.O_RDWR | os.O_CREAT, self._directory)
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

    def leases(self) -> LeaseFile:
        """Return the leases of the sessions in this shard, to be entered."""
        return LeaseFile(self._descriptor)

    def _wait(self, deadline: float) -> None:
        pause = 0.0005
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if self._call.abandoned or time.monotonic() > deadline:
                    raise self._timeout() from None
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

    def _timeout(self) -> TimeoutError:
        reason = f"another process or thread held the lock {self._shard}/{LOCK} for {_LOCK_SECONDS:.0f} s"
        return TimeoutError(errno.ETIMEDOUT, reason)


_descriptors: Final[set[int]] = set()
"""The lock files that are open. A forked process closes its copies: they would keep the locks of a parent that is killed."""


def _close_inherited() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_close_inherited)
