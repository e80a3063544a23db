"""The errors of SQLite and of the file system, as errors of botsession."""

import sqlite3
from typing import Final

from botsession import StoreUnavailableError

_BUSY: Final = (
    "Another connection holds the lock for longer than `timeout`. End its transaction (is the file open in an SQLite shell or a "
    "backup?) or raise `timeout`."
)
_BROKEN: Final = (
    "The file is damaged or is not an SQLite database. Restore it from a backup, or move it away to start over."
)
_READ_ONLY: Final = "The file and its folder must be writable, since SQLite keeps a -wal and a -shm file next to it."
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CORRUPT: _BROKEN,
    sqlite3.SQLITE_NOTADB: _BROKEN,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_FULL: "There is no room left on the disk. Nothing was stored.",
    sqlite3.SQLITE_CANTOPEN: "The folder must exist, and the path must name a file that may be opened.",
    sqlite3.SQLITE_IOERR: "The disk or file system reports an error. Check them.",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the lock."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_too_large(error: Exception) -> bool:
    """Return whether SQLite cannot store a text of this length."""
    return isinstance(error, OverflowError) or _code(error) == sqlite3.SQLITE_TOOBIG


def unavailable(error: Exception, path: str) -> StoreUnavailableError:
    """Return the error of botsession for a `sqlite3.Error` or an `OSError`."""
    remedy = _REMEDIES.get(_code(error), "Check that the path is right, and that this process may read and write it.")
    return StoreUnavailableError(f"the SQLite file {path!r} cannot be used: {error}", remedy=remedy)


def _code(error: Exception) -> int:
    """Return the primary result code of SQLite, without the details of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
