"""One subdirectory of a store, open: its files are reached through it and through no other path. All of it blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from botsession_file.locking import Call, Lock
from botsession_file.opening import open_private

if TYPE_CHECKING:
    import threading

_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")

CORRUPT: Final = ".corrupt-"
"""Between the name that an unreadable file had and the moment when it was put aside."""

_LONGEST: Final = 143
"""Bytes of a name that every file system holds."""

_SESSION: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NO_FILE: Final = (errno.ELOOP, errno.EMLINK, errno.ENXIO)
"""What opening a symbolic link or a socket gives, on one system or another."""


def is_temporary(name: str) -> bool:
    """Tells whether a file has the name of one that is being written; others' have other names."""
    return _TEMPORARY.fullmatch(name) is not None


class NoFileError(Exception):
    """Something else lies where a session's file belongs."""


class Shard:
    """One subdirectory, open for reading; a context manager that closes it."""

    __slots__ = ("_directory",)

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        os.close(self._directory)

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

    def check(self, name: str) -> None:
        """Raises `NoFileError` where something has the name that is no file, and so is not ours."""
        try:
            mode = os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(mode):
            raise NoFileError(f"{name} is no plain file")

    def size(self, name: str) -> int | None:
        """Returns how many bytes a file has; `None` where there is no file."""
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None


class Draft(NamedTuple):
    """A file that has no session's name yet; its bytes are durable.

    Attributes:
        name: The name that it has meanwhile.
        raw: Its bytes.
    """

    name: str
    raw: bytes


class ChangingShard(Shard):
    """One subdirectory, open for changes: they are made under its lock, and durable once it was closed without an error.

    Args:
        name: Its name.
        directory: The same, open.
        thread: What the threads of this store take turns by.
    """

    __slots__ = ("_changed", "_drafts", "_name", "_thread")

    def __init__(self, name: str, directory: int, thread: threading.Lock) -> None:
        super().__init__(directory)
        self._name = name
        self._thread = thread
        self._changed = False
        self._drafts: set[str] = set()

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
        """Returns the lock, to be entered."""
        return Lock(self._name, self._directory, self._thread, call)

    def draft(self, raw: bytes) -> Draft:
        """Writes a file that `put` gives its name, or that goes when the subdirectory is closed. It needs no lock."""
        name = f".{os.urandom(8).hex()}.tmp"
        descriptor = open_private(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._directory)
        self._drafts.add(name)
        try:
            rest = memoryview(raw)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return Draft(name, raw)

    def put(self, draft: Draft, name: str) -> None:
        """Puts a file in the place of the one that has the name, in one step."""
        try:
            self._rename(draft.name, name)
        except FileNotFoundError:  # purged as if its writer were dead; who holds the lock is not disturbed again
            draft = self.draft(draft.raw)
            self._rename(draft.name, name)
        self._drafts.discard(draft.name)
        self._changed = True

    def remove(self, name: str) -> None:
        """Removes the file that has the name; no error where none has."""
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return
        self._changed = True

    def put_aside(self, name: str) -> str:
        """Gives whatever has the name another one, which nobody has; returns it."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        suffix = f"{CORRUPT}{moment}-{os.urandom(6).hex()}"
        aside = name[: _LONGEST - len(suffix)] + suffix
        os.rename(name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._changed = True
        return aside

    def _rename(self, source: str, target: str) -> None:
        os.rename(source, target, src_dir_fd=self._directory, dst_dir_fd=self._directory)


def _read(descriptor: int, size: int) -> bytes:
    raw = os.read(descriptor, size)
    while len(raw) < size and (rest := os.read(descriptor, size - len(raw))):
        raw += rest
    return raw
