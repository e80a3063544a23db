"""The tables, and how a file with them is known."""

from typing import Final

APPLICATION_ID: Final = 0x62_6F_74_73
"""Marks a file as ours ("bots"); the command `file` shows it."""

SCHEMA: Final = 1
"""The number of the schema below, kept in the file's `user_version`."""

IDENTITY: Final = """
SELECT (SELECT application_id FROM pragma_application_id),
       (SELECT user_version FROM pragma_user_version),
       (SELECT count(*) FROM sqlite_schema)
"""

CREATE: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    expires_at INTEGER,             -- milliseconds since 1970 in UTC; NULL means never
    last_activity INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL            -- JSON; the columns go before what it says of version and times
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_deadline ON sessions (expires_at) WHERE expires_at IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

PROBE: Final = f"BEGIN IMMEDIATE; PRAGMA user_version = {SCHEMA}; ROLLBACK;"
"""Fails where the file cannot be written, which `BEGIN IMMEDIATE` alone does not; changes nothing."""

BESIDE: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS leases (
    id TEXT NOT NULL PRIMARY KEY,
    lease TEXT NOT NULL,            -- JSON: who holds it, until when, and who waits
    changed_at REAL NOT NULL,       -- seconds since the machine was started, as are those within the JSON
    ends_at REAL NOT NULL           -- when nobody holds it or waits for it any more
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    put_aside_at INTEGER NOT NULL,  -- milliseconds since 1970 in UTC
    id TEXT NOT NULL,               -- this and the rest as they were in the table sessions
    version TEXT NOT NULL,
    expires_at INTEGER,
    last_activity INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
COMMIT;
"""
"""What came later, added to a file that has it not; writes nothing to one that has.

It does not raise the number: what reads the sessions only, such as an earlier version of this package, goes on working.
"""
