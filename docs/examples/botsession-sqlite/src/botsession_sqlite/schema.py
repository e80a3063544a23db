"""The file and its tables."""

import contextlib
import os
import sqlite3
import threading
import time
from typing import Final

from botsession import StoreError, StoreUnavailableError
from botsession_sqlite.errors import is_busy

APPLICATION_ID: Final = 0x62_6F_74_73
"""Marks a file as ours ("bots"); the command `file` shows it."""

SCHEMA: Final = 1
"""The number of the schema, kept in the file's `user_version`."""

_MARK: Final = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,           -- one line of JSON
    expires_at TEXT                 -- the same as in the record, in UTC; NULL means never
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_deadline ON sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS leases (
    id TEXT NOT NULL PRIMARY KEY,
    lease TEXT NOT NULL,            -- JSON: the holder, the end, and the queue
    changed_at REAL NOT NULL        -- seconds since the machine was started, as are those within the JSON
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    name TEXT NOT NULL PRIMARY KEY, -- the id, with the time and a random suffix
    record TEXT NOT NULL            -- as it was in the table sessions
) STRICT;
"""
_PROBE: Final = f"BEGIN IMMEDIATE; {_MARK} ROLLBACK;"
"""Fails if the file cannot be written, which `BEGIN IMMEDIATE` alone does not; writes nothing."""

_creating: Final = threading.Lock()
_RETRY_AFTER: Final = 0.05


def connect(path: str, timeout: float, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection without implicit transactions; create the file and its tables if they are missing.

    Args:
        path: The absolute path of the file.
        timeout: How many seconds to wait for a lock.
        read_only: Whether the connection changes nothing; the file must be there.

    Raises:
        sqlite3.Error: SQLite cannot open or write the file.
        OSError: The file cannot be created.
        StoreError: The file belongs to another program, or to a later version of this one.
    """
    if not read_only:
        _create(path)
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    db.text_factory = lambda raw: raw.decode(errors="surrogateescape")  # a damaged id must not end a scan
    try:
        if read_only:
            db.execute("PRAGMA query_only = ON")
        else:
            _prepare(db, path, timeout)
    except BaseException:
        db.close()
        raise
    return db


def _create(path: str) -> None:
    """Create an empty file that only its owner may read, unless it exists.

    Closing a file drops all locks that the process has on it, so no other thread may open it in between.
    """
    with _creating, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare(db: sqlite3.Connection, path: str, patience: float) -> None:
    """Prepare the file; try again while other connections do so, since SQLite does not wait when it switches to WAL."""
    until = time.monotonic() + patience
    while True:
        try:
            mark = _MARK if _is_new(db, path) else ""
            [(mode,)] = db.execute("PRAGMA journal_mode = WAL")
            if mode != "wal":
                raise StoreUnavailableError(
                    f"{path!r} cannot be written in WAL mode", remedy="Make it writable, on a local disk."
                )
            db.executescript(f"PRAGMA fullfsync = ON; {_PROBE} BEGIN IMMEDIATE; {_TABLES} {mark} COMMIT;")
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
            time.sleep(_RETRY_AFTER)
        else:
            return


def _is_new(db: sqlite3.Connection, path: str) -> bool:
    (application,), (number,), (objects,) = db.execute(
        "SELECT application_id FROM pragma_application_id UNION ALL SELECT user_version FROM pragma_user_version "
        "UNION ALL SELECT count(*) FROM sqlite_schema"
    )
    if application != APPLICATION_ID and (application, number, objects) != (0, 0, 0):
        raise StoreError(
            f"{path!r} is the database of another program", remedy="Give the sessions a file of their own."
        )
    if number > SCHEMA:
        raise StoreError(
            f"{path!r} has the schema {number} of a later version of botsession-sqlite; this one knows {SCHEMA}",
            remedy="Run: pip install --upgrade botsession-sqlite",
        )
    return not objects
