"""Files that only their owner may read."""

from __future__ import annotations

import os
import stat


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
