"""The directory of a store. Everything here blocks and runs in worker threads.

.sessions/.botsession                      marks the directory of a store and names its format
.sessions/3f/telegram%3a42.json            one session, in the shard `3f`
.sessions/3f/.lock                         held while a session of the shard is changed; keeps their leases; never removed
.sessions/3f/.0123456789abcdef.tmp         the draft of a session that is being written
.sessions/3f/telegram%3a42.json.corrupt-20261123T093000Z-5a1f0c9be2d47e60      an unreadable record in quarantine
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from botsession import ConfigError
from botsession_file import files
from botsession_file.shard import Shard, ShardWriter

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
MARK: Final = ".botsession"
_FORMAT: Final = b"botsession-file 1\n"


class Folder:
    """The directory of a store.

    Args:
        path: The directory, absolute; its shards are made when they are needed.

    Attributes:
        path: The same.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._name = str(path)
        self._mark = str(path / MARK)
        self.reset_locks()

    def reset_locks(self) -> None:
        """Replace the locks among threads, which threads that a fork has left behind may hold."""
        self._threads = {shard: threading.Lock() for shard in SHARDS}

    def prepare(self) -> None:
        """Make the directory if it is missing, and write to it.

        Raises:
            ConfigError: `path` is not a directory, or the directory has another format.
        """
        if not self.path.is_dir():
            try:
                files.make_private_directory(self.path, parents=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ConfigError(
                    f"dirname {self._name!r} is no directory", remedy="Choose another one, or move the file."
                ) from error
        self._probe(os.O_CREAT)
        files.sync_directory(self.path)

    def probe(self) -> None:
        """Write to the directory, which must exist."""
        self._probe(0)

    def check(self) -> None:
        """Raise `FileNotFoundError` if the directory is gone or its volume is not mounted."""
        os.stat(self._mark)  # noqa: PTH116 - the plain call

    def reader(self, shard: str) -> Shard | None:
        """Open a shard for reading; return `None` if it is missing."""
        directory = self._open(shard)
        return None if directory is None else Shard(directory)

    def writer(self, shard: str) -> ShardWriter:
        """Open a shard for changes; make it if it is missing."""
        directory = self._open(shard)
        if directory is None:
            files.make_private_directory(self.path / shard)
            directory = os.open(f"{self._name}/{shard}", files.DIRECTORY)
        return ShardWriter(shard, directory, self._threads[shard])

    def _open(self, shard: str) -> int | None:
        try:
            return os.open(f"{self._name}/{shard}", files.DIRECTORY)
        except FileNotFoundError:
            self.check()
            return None

    def _probe(self, flags: int) -> None:
        descriptor = files.open_private(self._mark, os.O_RDWR | flags)
        try:
            if os.pread(descriptor, 100, 0) not in (b"", _FORMAT):
                raise ConfigError(
                    f"dirname {self._name!r} was made by another version of botsession-file",
                    remedy="Use that version, or choose another directory.",
                )
            os.pwrite(descriptor, _FORMAT, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
