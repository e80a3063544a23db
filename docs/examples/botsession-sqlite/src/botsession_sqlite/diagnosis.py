"""What would lose sessions that are in an SQLite file."""

import shutil
import sqlite3
from pathlib import Path
from typing import Final

from botsession import Finding

_ROOM: Final = 2**30
_LEAST: Final = 0.05


def diagnose(db: sqlite3.Connection, path: str, now: str) -> list[Finding]:
    """Return the findings for an open file; `now` is the text of the present moment.

    Raises:
        OSError: The file is gone.
    """
    return [_damage(db), _privacy(path), _expiry(db, now), _quarantine(db), _space(path)]


def _damage(db: sqlite3.Connection) -> Finding:
    [(damage,)] = db.execute("PRAGMA quick_check(1)")
    if damage == "ok":
        return Finding("ok", "persistence", "the file is sound; a write is on the disk when it returns")
    message = f"the file is damaged: {' '.join(damage.split())}"
    return Finding("error", "persistence", message, "take the last copy, or try: sqlite3 FILE .recover")


def _privacy(path: str) -> Finding:
    if Path(path).stat().st_mode & 0o077:
        return Finding("warning", "permissions", f"other users may read or change {path!r}", f"chmod 600 {path}")
    return Finding("ok", "permissions", f"only its owner may read {path!r}")


def _expiry(db: sqlite3.Connection, now: str) -> Finding:
    [(expired,)] = db.execute("SELECT count(*) FROM sessions WHERE expires_at <= ?", (now,))
    return Finding("ok", "expiry", f"{expired:,} expired sessions, absent for the bot, wait to be purged")


def _quarantine(db: sqlite3.Connection) -> Finding:
    [(count,)] = db.execute("SELECT count(*) FROM quarantine")
    if not count:
        return Finding("ok", "quarantine", "the quarantine is empty")
    message = f"{count:,} unreadable sessions are in the table quarantine"
    return Finding("warning", "quarantine", message, "repair them by hand, or DELETE FROM quarantine")


def _space(path: str) -> Finding:
    disk = shutil.disk_usage(Path(path).parent)
    message = f"{disk.free / 2**30:,.1f} of {disk.total / 2**30:,.1f} GiB are free"
    if disk.free >= min(_LEAST * disk.total, _ROOM):
        return Finding("ok", "space", message)
    return Finding("warning", "space", f"{message}; on a full disk no session is saved", "make room on the disk")
