"""What a failure of the file system means, and what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

_OWNER: Final = "Give the directory to the user who runs the bot, with the mode 0700."
_REMEDIES: Final = {
    errno.ENOENT: "If the directory was moved or its volume is not mounted, bring it back. Otherwise call init() to start over.",
    errno.ENOTDIR: "Something else lies in place of a directory. Move it away.",
    errno.ELOOP: "A symbolic link lies in place of a directory or a lock. Move it away.",
    errno.ENOTEMPTY: "A directory lies in place of a file. Move it away.",
    errno.ENOSPC: "Make room on its disk.",
    errno.EDQUOT: "Make room within the quota.",
    errno.EROFS: "Remount the file system for writing, or choose another dirname.",
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ETIMEDOUT: "Check whether another process of the bot is stopped, or the disk very slow.",
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
            f"the session exceeds the size that files in {str(path)!r} may have",
            remedy="Keep less in it, or raise the limit (ulimit -f).",
        )
    else:
        report = StoreUnavailableError(
            f"the sessions in {str(path)!r} are unavailable: {error.strerror}",
            remedy=_REMEDIES.get(error.errno or 0, "Check whether its disk is sound."),
        )
    report.__cause__ = error
    return report
