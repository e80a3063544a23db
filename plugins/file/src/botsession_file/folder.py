"""The directory of a store: everything that touches the disk. All of it blocks, and runs in worker threads.

.sessions/.botsession                      says that this is a store, and in which format
.sessions/3f/telegram%3a42.json            one session
.sessions/3f/.lock                         held while a session in `3f` is changed, and holds their leases; never removed
.sessions/3f/.0123456789abcdef.tmp         a session that is being written
.sessions/3f/telegram%3a42.json.corrupt-20261123T093000Z-5a1f0c9be2d4      what was unreadable, put aside
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botsession import ConfigError
from botsession_file.shard import LockedShard, Shard, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
_MARK: Final = ".botsession"
_FORMAT: Final = b"botsession-file 1\n"
LOCK: Final = ".lock"
_LOCK_SECONDS: Final = 10.0
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class AbandonedError(Exception):
    """Nobody waits for the call any more, so it must not change anything."""


class Call:
    """One call from the event loop to a worker thread; `abandoned` once its caller was cancelled."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


class Folder:
    """The directory of a store.

    Args:
        path: Absolute; its subdirectories are made as they are needed.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._mark = str(path / _MARK)
        self._threads = {shard: threading.Lock() for shard in SHARDS}

    def prepare(self) -> None:
        """Makes the directory where it is missing, and writes into it.

        Raises:
            ConfigError: Something else has its name, or it belongs to another format.
        """
        if not self.path.is_dir():
            try:
                self.path.mkdir(0o700, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ConfigError(
                    f"dirname {str(self.path)!r} is no directory: choose another, or move the file"
                ) from error
            self.path.chmod(0o700)
            _sync(self.path.parent)
        self._probe(os.O_CREAT)
        _sync(self.path)

    def probe(self) -> None:
        """Writes into the directory, which must be there."""
        self._probe(0)

    def check(self) -> None:
        """Raises `FileNotFoundError` where the directory is gone, or its volume is not mounted."""
        os.stat(self._mark)  # noqa: PTH116 - a plain call, made for every absent session

    @contextlib.contextmanager
    def shard(self, name: str) -> Iterator[Shard | None]:
        """Opens a subdirectory for reading; gives `None` where it is missing."""
        directory = self._open(name)
        if directory is None:
            yield None
            return
        try:
            yield Shard(directory)
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def locked(self, name: str, call: Call) -> Iterator[LockedShard]:
        """Opens a subdirectory for changes, which nobody else can make meanwhile; they are durable afterwards.

        Args:
            name: The subdirectory, made where it is missing.
            call: On whose behalf.

        Raises:
            AbandonedError: The caller was cancelled before anything was changed.
            TimeoutError: Another process holds the lock and does not let go.
        """
        directory = self._open(name)
        if directory is None:
            directory = self._make(name)
        try:
            with self._lock(name, directory, call) as lock:
                shard = LockedShard(directory, lock)
                yield shard
            if shard.changed:
                os.fsync(directory)
        finally:
            os.close(directory)

    def _open(self, name: str) -> int | None:
        try:
            return os.open(f"{self.path}/{name}", _DIRECTORY)
        except FileNotFoundError:
            self.check()
            return None

    def _make(self, name: str) -> int:
        path = self.path / name
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
            path.chmod(0o700)
            _sync(self.path)
        return os.open(path, _DIRECTORY)

    def _probe(self, flags: int) -> None:
        descriptor = open_private(self._mark, os.O_RDWR | flags)
        try:
            if os.pread(descriptor, 100, 0) not in (b"", _FORMAT):
                raise ConfigError(
                    f"dirname {str(self.path)!r} was made by another version of botsession-file; use that one"
                )
            os.pwrite(descriptor, _FORMAT, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _lock(self, name: str, directory: int, call: Call) -> Iterator[int]:
        """Takes turns, first with the other threads, so that only one of them asks the system for the lock file."""
        deadline = time.monotonic() + _LOCK_SECONDS
        thread = self._threads[name]
        if not thread.acquire(timeout=_LOCK_SECONDS):
            raise _held(name)
        try:
            descriptor = _open_lock(directory)
            try:
                pause = 0.0005
                while not _try_lock(descriptor):
                    if call.abandoned or time.monotonic() > deadline:
                        raise _held(name)
                    time.sleep(pause)
                    pause = min(pause * 1.5, 0.02)
                if call.abandoned:
                    raise AbandonedError
                yield descriptor
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            thread.release()


def _open_lock(directory: int) -> int:
    try:
        return os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return open_private(LOCK, os.O_RDWR | os.O_CREAT, directory)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(name: str) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, f"the lock {name}/{LOCK} was held by somebody else for {_LOCK_SECONDS:.0f} s")


def _sync(path: Path) -> None:
    """Makes the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
