"""Single files and directories of a store. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def open_private(path: str, flags: int, directory: int | None = None) -> int:
    """Open a file with the mode 0600, whatever the umask is; return its descriptor.

    Args:
        path: The file.
        flags: How to open it; a symbolic link is never followed.
        directory: An open directory, if `path` is relative to it.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_private_directory(path: Path, *, parents: bool = False) -> None:
    """Make a directory with the mode 0700, whatever the umask is, and make its name durable.

    Args:
        path: The directory; another process may make it at the same time.
        parents: Whether to make its parents as well.

    Raises:
        FileExistsError: Something else has the name.
    """
    path.mkdir(0o700, parents=parents, exist_ok=True)
    path.chmod(0o700)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
