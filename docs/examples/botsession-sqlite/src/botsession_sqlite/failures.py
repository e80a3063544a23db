"""What SQLite reports, as the errors of botsession, each with what to do about it."""

import sqlite3
from typing import Final

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

_BUSY: Final = (
    "another connection holds the lock for longer than `timeout`: end its transaction (is the file open in an SQLite "
    "shell or a backup?) or raise `timeout`"
)
_BROKEN: Final = "the file is damaged or no SQLite database; restore it from a backup, or move it away to start afresh"
_READ_ONLY: Final = "the file and its folder must be writable, since SQLite keeps a -wal and a -shm file beside it"

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CORRUPT: _BROKEN,
    sqlite3.SQLITE_NOTADB: _BROKEN,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_FULL: "there is no room left on the disk; nothing was stored",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist, and the path must name a file that may be opened",
    sqlite3.SQLITE_IOERR: "the disk or file system reports an error; nothing is known to be stored",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Tells whether an error only says that somebody else holds the lock."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translated(error: Exception, store: str) -> StoreError:
    """Returns the error of botsession that says what an error of SQLite or of the file system means.

    Args:
        error: A `sqlite3.Error`, `OSError` or `OverflowError`.
        store: A description of the store.
    """
    if isinstance(error, OverflowError) or _code(error) == sqlite3.SQLITE_TOOBIG:
        return SessionTooLargeError(f"{store} takes no session of this size: {error}; nothing was stored")
    advice = _ADVICE.get(_code(error), "is the path right, and may this process read and write it?")
    return StoreUnavailableError(f"{store} does not answer: {error}; {advice}")


def _code(error: Exception) -> int:
    """Returns the primary result code of SQLite, without the details of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
