"""What a failure of the file system means, and what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

_ADVICE: Final = {
    errno.ENOENT: "the directory is not there, or its volume is not mounted; bring it back, or call init() to begin anew",
    errno.ENOTDIR: "something else lies in place of a directory; move it away",
    errno.ELOOP: "a symbolic link lies in place of a directory or a lock; move it away",
    errno.ENOTEMPTY: "a directory lies in place of a file; move it away",
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "remount the file system for writing, or choose another dirname",
    errno.EACCES: "give the directory to the user who runs the bot, with the mode 0700",
    errno.EPERM: "give the directory to the user who runs the bot, with the mode 0700",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ETIMEDOUT: "see whether another process of the bot is stopped, or the disk very slow",
}


def reported(error: OSError, path: Path) -> StoreError:
    """Returns the error to raise for a failure of the file system.

    Args:
        error: The failure; becomes the cause.
        path: The directory of the store.
    """
    if error.errno == errno.EFBIG:
        report: StoreError = SessionTooLargeError(
            f"a session is larger than files may be in {str(path)!r}: make it smaller, or raise the limit (ulimit -f)"
        )
    else:
        advice = _ADVICE.get(error.errno or 0, "see whether its disk is sound")
        report = StoreUnavailableError(f"the sessions in {str(path)!r} cannot be had: {error.strerror}; {advice}")
    report.__cause__ = error
    return report
