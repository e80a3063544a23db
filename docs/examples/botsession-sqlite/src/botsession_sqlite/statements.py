"""The SQL: the schema, and one statement for each thing that a store does.

Every statement is a transaction of its own. Nothing is ever left open between two of them, so that a task may be
cancelled at any `await`, and compare-and-set is one step under SQLite's write lock.

A batch is one parameter, a JSON array, so that it may be of any length.
"""

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

READ: Final = """
SELECT id, version, expires_at, last_activity, created_at, CAST(record AS BLOB)
FROM sessions WHERE id = :id AND (expires_at IS NULL OR expires_at > :now)
"""

READ_MANY: Final = """
SELECT id, version, expires_at, last_activity, created_at, CAST(record AS BLOB)
FROM sessions
WHERE id IN (SELECT value FROM json_each(:ids)) AND (expires_at IS NULL OR expires_at > :now)
"""

SCAN: Final = """
SELECT id, version, expires_at, last_activity, created_at, length(CAST(record AS BLOB))
FROM sessions
WHERE id >= :first AND id <= :last AND id > :after AND (expires_at IS NULL OR expires_at > :now)
ORDER BY id LIMIT :limit
"""

_INTO: Final = "INSERT INTO sessions (id, version, expires_at, last_activity, created_at, record)"

_OVER: Final = """
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, expires_at = excluded.expires_at, last_activity = excluded.last_activity,
    created_at = excluded.created_at, record = excluded.record
"""

_EXPECTED: Final = """
SELECT new.id, new.version, new.expires_at, new.last_activity, new.created_at, new.record
FROM new LEFT JOIN sessions AS old ON old.id = new.id AND (old.expires_at IS NULL OR old.expires_at > :now)
WHERE old.version IS new.expected AND (new.active IS NULL OR old.last_activity IS new.active)
"""

WRITE: Final = f"{_INTO} VALUES (:id, :version, :expires_at, :last_activity, :created_at, :record) {_OVER}"

REPLACE: Final = f"""
WITH new (id, version, expires_at, last_activity, created_at, record, expected, active) AS (
    VALUES (:id, :version, :expires_at, :last_activity, :created_at, :record, :expected, NULL)
)
{_INTO} {_EXPECTED} {_OVER} RETURNING id
"""

REPLACE_MANY: Final = f"""
WITH new (id, version, expires_at, last_activity, created_at, record, expected, active) AS (
    SELECT json_extract(value, '$.id'), json_extract(value, '$.version'), json_extract(value, '$.expires_at'),
           json_extract(value, '$.last_activity'), json_extract(value, '$.created_at'),
           json_extract(value, '$.record'), json_extract(value, '$.expected'), json_extract(value, '$.active')
    FROM json_each(:entries)
)
{_INTO} {_EXPECTED} {_OVER} RETURNING id
"""  # noqa: S608 - it is made of constants
"""No id may come twice: what is expected is compared with what was there before the statement."""

TOUCH: Final = """
UPDATE sessions SET expires_at = :expires_at, last_activity = :now
WHERE id = :id AND (expires_at IS NULL OR expires_at > :now) RETURNING id
"""

DESTROY: Final = "DELETE FROM sessions WHERE id = :id"

DESTROY_MANY: Final = "DELETE FROM sessions WHERE id IN (SELECT value FROM json_each(:ids))"

PURGE: Final = """
DELETE FROM sessions
WHERE id IN (SELECT id FROM sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit) RETURNING 1
"""

CHECK: Final = "PRAGMA quick_check(1)"

COUNT_EXPIRED: Final = "SELECT count(*) FROM sessions WHERE expires_at <= :now"

PING: Final = "SELECT 1 FROM sessions LIMIT 1"
