"""The SQL: one statement for each thing that a store does.

A statement is a transaction of its own, except where leases or the quarantine are part of the step (`transactions`). So
compare-and-set is one step under SQLite's write lock.

A batch is one parameter, a JSON array, so that it may be of any length.
"""

from typing import Final

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
{_INTO} {_EXPECTED} AND new.id NOT IN (SELECT value FROM json_each(:refused)) {_OVER} RETURNING id
"""  # noqa: S608 - it is made of constants
"""Stores what is as expected, but for the ids that are `refused`.

No id may come twice: what is expected is compared with what was there before the statement.
"""

TOUCH: Final = """
UPDATE sessions SET expires_at = :expires_at, last_activity = :now
WHERE id = :id AND (expires_at IS NULL OR expires_at > :now) RETURNING id
"""

DESTROY: Final = "DELETE FROM sessions WHERE id = :id"

DESTROY_MANY: Final = """
WITH gone (id, expected) AS (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:entries))
DELETE FROM sessions WHERE id IN (
    SELECT old.id FROM sessions AS old JOIN gone ON gone.id = old.id
    WHERE gone.expected IS NULL OR old.version = gone.expected AND (old.expires_at IS NULL OR old.expires_at > :now)
) RETURNING id
"""

END_LEASES: Final = "DELETE FROM leases WHERE id IN (SELECT value FROM json_each(:ids))"

PURGE: Final = """
DELETE FROM sessions
WHERE id IN (SELECT id FROM sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit) RETURNING 1
"""

PUT_ASIDE: Final = """
INSERT INTO quarantine (put_aside_at, id, version, expires_at, last_activity, created_at, record)
SELECT :now, id, version, expires_at, last_activity, created_at, record FROM sessions WHERE id = :id
RETURNING number
"""

LEASE: Final = "SELECT CAST(lease AS BLOB) FROM leases WHERE id = :id AND changed_at <= :now"

KEEP_LEASE: Final = """
INSERT INTO leases (id, lease, changed_at, ends_at) VALUES (:id, :lease, :now, :ends_at)
ON CONFLICT (id) DO UPDATE SET
    lease = excluded.lease, changed_at = excluded.changed_at, ends_at = excluded.ends_at
"""

DROP_LEASE: Final = "DELETE FROM leases WHERE id = :id"

PURGE_LEASES: Final = "DELETE FROM leases WHERE changed_at > :now OR ends_at <= :now"

CHECK: Final = "PRAGMA quick_check(1)"

COUNT_EXPIRED: Final = "SELECT count(*) FROM sessions WHERE expires_at <= :now"

COUNT_QUARANTINED: Final = "SELECT count(*) FROM quarantine"

PING: Final = "SELECT 1 FROM sessions LIMIT 1"
