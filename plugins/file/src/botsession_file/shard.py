"""One subdirectory of a store, open: its files are reached through it and through no other path. All of it blocks."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import Final

from botsession_file.leases import Leases

TEMPORARY: Final = ".tmp"

CORRUPT: Final = ".corrupt-"
"""Between the name that an unreadable file had and the moment when it was put aside."""

_LONGEST: Final = 143
"""Bytes of a name that every file system holds."""

_SESSION: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NO_FILE: Final = (errno.ELOOP, errno.EMLINK, errno.ENXIO)
"""What opening a symbolic link or a socket gives, on one system or another."""


class NoFileError(Exception):
    """Something else lies where a session's file belongs."""


class Shard:
    """One subdirectory, open for reading."""

    __slots__ = ("_directory",)

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        """Returns the names of all files, sorted."""
        return sorted(os.listdir(self._directory))  # noqa: PTH208 - pathlib cannot list an open directory

    def read(self, name: str, size: int | None = None) -> bytes | None:
        """Returns a file's bytes, or its first `size` ones; `None` where there is no file.

        Raises:
            NoFileError: It is a directory, a link, a pipe or a device; none of these is followed or waited for.
        """
        try:
            descriptor = os.open(name, _SESSION, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NoFileError(f"{name} is no plain file") from error
            raise
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NoFileError(f"{name} is no plain file")
            return _read(descriptor, status.st_size if size is None else min(size, status.st_size))
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int | None:
        """Returns how many bytes a file has; `None` where there is no file."""
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None


class LockedShard(Shard):
    """One subdirectory, open for changes.

    Attributes:
        changed: Whether there are any, which are not durable before the subdirectory is synced.
    """

    __slots__ = ("_lock", "changed")

    def __init__(self, directory: int, lock: int) -> None:
        super().__init__(directory)
        self._lock = lock
        self.changed = False

    def leases(self) -> Leases:
        """Reads the leases of the sessions here."""
        return Leases(self._lock)

    def write(self, name: str, raw: bytes) -> None:
        """Puts a file with these bytes in the place of whatever has the name, in one step."""
        temporary = f".{os.urandom(8).hex()}{TEMPORARY}"
        descriptor = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._directory)
        try:
            try:
                rest = memoryview(raw)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._rename(temporary, name)
        except BaseException:
            os.unlink(temporary, dir_fd=self._directory)
            raise
        self.changed = True

    def remove(self, name: str) -> None:
        """Removes whatever has the name; no error where nothing has."""
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            os.rmdir(name, dir_fd=self._directory)
        self.changed = True

    def put_aside(self, name: str) -> str:
        """Gives whatever has the name another one, which nobody has; returns it."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        suffix = f"{CORRUPT}{moment}-{os.urandom(6).hex()}"
        aside = name[: _LONGEST - len(suffix)] + suffix
        os.rename(name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.changed = True
        return aside

    def _rename(self, source: str, target: str) -> None:
        try:
            os.rename(source, target, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except IsADirectoryError:
            os.rmdir(target, dir_fd=self._directory)
            os.rename(source, target, src_dir_fd=self._directory, dst_dir_fd=self._directory)


def _read(descriptor: int, size: int) -> bytes:
    raw = os.read(descriptor, size)
    while len(raw) < size and (rest := os.read(descriptor, size - len(raw))):
        raw += rest
    return raw


def open_private(path: str, flags: int, directory: int | None = None) -> int:
    """Opens a file that only its owner may read, whatever the umask says."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
