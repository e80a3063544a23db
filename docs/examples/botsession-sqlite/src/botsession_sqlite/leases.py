"""The leases, as rows of their table.

Times are those of `time.monotonic`, which all processes of a machine share and which starts over with the machine. A lease that
was changed "later" than now is from before, and is over. A lease that cannot be read is none: leases keep turns in order, and
versions protect the sessions.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from botsession.storage.leases import Lease, LeaseTable

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Lease).decode

_FIND: Final = "SELECT CAST(lease AS BLOB) FROM leases WHERE id = ? AND changed_at <= ?"
_KEEP: Final = """
INSERT INTO leases (id, lease, changed_at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET lease = excluded.lease, changed_at = excluded.changed_at
"""


@contextlib.contextmanager
def leases_of(db: sqlite3.Connection, session_ids: Iterable[str]) -> Iterator[tuple[LeaseTable, float]]:
    """Lend the leases of some sessions with the present time, and store what has changed.

    Args:
        db: A connection in a transaction.
        session_ids: The sessions.
    """
    now = time.monotonic()
    table = LeaseTable()
    stored = dict.fromkeys(session_ids, b"")
    for session_id in stored:
        for (raw,) in db.execute(_FIND, (session_id, now)):
            stored[session_id] = raw
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                table[session_id] = _decode(raw)
    yield table, now
    for session_id, before in stored.items():
        lease = table.get(session_id)
        if lease is None:
            db.execute("DELETE FROM leases WHERE id = ?", (session_id,))
        elif (raw := _encode(lease)) != before:
            db.execute(_KEEP, (session_id, raw.decode(), now))


def purge_leases(db: sqlite3.Connection) -> None:
    """Remove the leases that are over."""
    with leases_of(db, [session_id for (session_id,) in db.execute("SELECT id FROM leases")]) as (leases, now):
        leases.purge(now)
