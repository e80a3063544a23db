"""What a failure of the file system means, and what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

_OWNER: Final = "give the directory to the user who runs the bot, with the mode 0700"
_REMEDIES: Final = {
    errno.ENOENT: "the directory is not there, or its volume is not mounted; bring it back, or call init() to start over",
    errno.ENOTDIR: "something else lies in place of a directory; move it away",
    errno.ELOOP: "a symbolic link lies in place of a directory or a lock; move it away",
    errno.ENOTEMPTY: "a directory lies in place of a file; move it away",
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "remount the file system for writing, or choose another dirname",
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ETIMEDOUT: "see whether another process of the bot is stopped, or the disk very slow",
}


class NotAFileError(OSError):
    """A directory, link, pipe or device is where a session's file belongs."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not a plain file")


def store_error(error: OSError, path: Path) -> StoreError:
    """Return the error to raise for a failure of the file system.

    Args:
        error: The failure, which becomes the cause.
        path: The directory of the store.
    """
    if error.errno == errno.EFBIG:
        report: StoreError = SessionTooLargeError(
            f"a session is larger than files may be in {str(path)!r}: make it smaller, or raise the limit (ulimit -f)"
        )
    else:
        remedy = _REMEDIES.get(error.errno or 0, "see whether its disk is sound")
        report = StoreUnavailableError(f"the sessions in {str(path)!r} cannot be reached: {error.strerror}; {remedy}")
    report.__cause__ = error
    return report
