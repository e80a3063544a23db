"""One shard: a subdirectory that is open, and the only way to its files. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final, Self

from botsession_file.errors import NotAFileError
from botsession_file.files import open_private
from botsession_file.locks import Call, Lock

if TYPE_CHECKING:
    import threading

_SESSION: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NO_FILE: Final = (errno.ELOOP, errno.EMLINK, errno.ENXIO)
"""The errors of opening a symbolic link or a socket, on one system or another."""


class Shard:
    """A shard that is open for reading, as a context manager that closes it.

    Args:
        directory: The descriptor of the subdirectory.
    """

    __slots__ = ("_directory",)

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        os.close(self._directory)

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(os.listdir(self._directory))  # noqa: PTH208 - pathlib cannot list an open directory

    def read(self, name: str, size: int | None = None) -> bytes | None:
        """Return the bytes of a file, or its first `size` ones; `None` if there is no file.

        Raises:
            NotAFileError: There is something else. It is neither followed nor waited for.
        """
        try:
            descriptor = os.open(name, _SESSION, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotAFileError(name) from error
            raise
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotAFileError(name)
            return _read(descriptor, status.st_size if size is None else min(size, status.st_size))
        finally:
            os.close(descriptor)

    def check(self, name: str) -> None:
        """Raise `NotAFileError` if the name belongs to something that is not a file, and so is not ours."""
        status = self._stat(name)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise NotAFileError(name)

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has, or `None` if there is no file."""
        status = self._stat(name)
        return None if status is None else status.st_size

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None


class ShardWriter(Shard):
    """A shard that is open for changes. They need its lock, and are durable when the shard was closed without an error.

    Args:
        shard: The name of the subdirectory.
        directory: Its descriptor.
        thread: The lock that the threads of this store share.
    """

    __slots__ = ("_changed", "_drafts", "_shard", "_thread")

    def __init__(self, shard: str, directory: int, thread: threading.Lock) -> None:
        super().__init__(directory)
        self._shard = shard
        self._thread = thread
        self._changed = False
        self._drafts: dict[str, bytes] = {}

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        try:
            for name in self._drafts:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._directory)
            if self._changed and kind is None:
                os.fsync(self._directory)
        finally:
            os.close(self._directory)

    def locked(self, call: Call) -> Lock:
        """Return the lock of the shard, to be entered."""
        return Lock(self._shard, self._directory, self._thread, call)

    def draft(self, raw: bytes) -> str:
        """Write a draft and make its bytes durable; return its name.

        It needs no lock, and is removed when the shard is closed unless `put` has renamed it.
        """
        name = f".{os.urandom(8).hex()}.tmp"
        descriptor = open_private(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._directory)
        self._drafts[name] = raw
        try:
            rest = memoryview(raw)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return name

    def put(self, draft: str, name: str) -> None:
        """Rename a draft, in place of the file that has the name."""
        try:
            self.rename(draft, name)
        except FileNotFoundError:  # a purge took its writer for dead; it cannot happen again under the lock
            draft = self.draft(self._drafts[draft])
            self.rename(draft, name)
        del self._drafts[draft]

    def remove(self, name: str) -> None:
        """Remove a file; no error if there is none."""
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return
        self._changed = True

    def rename(self, source: str, target: str) -> None:
        """Rename whatever has the name `source`, in one step."""
        os.rename(source, target, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._changed = True


def _read(descriptor: int, size: int) -> bytes:
    raw = os.read(descriptor, size)
    while len(raw) < size and (rest := os.read(descriptor, size - len(raw))):
        raw += rest
    return raw
