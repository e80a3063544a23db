"""The directory of a store: everything that touches the disk. All of it blocks, and runs in worker threads.

.sessions/.botsession                      says that this is a store, and in which format
.sessions/3f/telegram%3a42.json            one session
.sessions/3f/.lock                         held while a session in `3f` is changed, and holds their leases; never removed
.sessions/3f/.0123456789abcdef.tmp         a session that is being written
.sessions/3f/telegram%3a42.json.corrupt-20261123T093000Z-5a1f0c9be2d4      what was unreadable, put aside
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

from botsession import ConfigError
from botsession_file.opening import open_private
from botsession_file.shard import ChangingShard, Shard

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
_MARK: Final = ".botsession"
_FORMAT: Final = b"botsession-file 1\n"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Folder:
    """The directory of a store.

    Args:
        path: Absolute; its subdirectories are made as they are needed.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._mark = str(path / _MARK)
        self.forget_threads()

    def forget_threads(self) -> None:
        """Lets go of the locks that threads hold which a fork has left behind."""
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

    def shard(self, name: str) -> Shard | None:
        """Opens a subdirectory for reading; returns `None` where it is missing."""
        directory = self._open(name)
        return None if directory is None else Shard(directory)

    def changing(self, name: str) -> ChangingShard:
        """Opens a subdirectory for changes, and makes it where it is missing."""
        directory = self._open(name)
        if directory is None:
            directory = self._make(name)
        return ChangingShard(name, directory, self._threads[name])

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


def _sync(path: Path) -> None:
    """Makes the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
