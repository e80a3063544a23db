"""What would lose sessions that lie in an SQLite file."""

import shutil
from pathlib import Path
from typing import Final

from botsession import Finding

_ROOM: Final = 2**30
_LEAST: Final = 0.05


def diagnose(path: str, *, damage: str, expired: int, quarantined: int) -> list[Finding]:
    """Returns the findings for a file that is open. It asks the file system, and so blocks.

    Args:
        path: The file.
        damage: What SQLite says of its pages; `ok` where all is well.
        expired: How many expired sessions it holds.
        quarantined: How many unreadable ones were put aside.

    Raises:
        OSError: The file is gone.
    """
    return [_damage(damage), _privacy(path), _expiry(expired), _quarantine(quarantined), _space(path)]


def _damage(damage: str) -> Finding:
    if damage == "ok":
        return Finding("ok", "persistence", "the file is sound; a write is on the disk when it returns")
    message = f"the file is damaged: {' '.join(damage.split())}"
    return Finding("error", "persistence", message, "take the last copy, or try: sqlite3 FILE .recover")


def _privacy(path: str) -> Finding:
    if Path(path).stat().st_mode & 0o077:
        return Finding("warning", "permissions", f"other users may read or change {path!r}", f"chmod 600 {path}")
    return Finding("ok", "permissions", f"{path!r} is open to its owner only")


def _expiry(expired: int) -> Finding:
    return Finding("ok", "expiry", f"{expired:,} expired sessions, absent for the bot, wait to be purged")


def _quarantine(quarantined: int) -> Finding:
    if not quarantined:
        return Finding("ok", "quarantine", "no session was unreadable and put aside")
    message = f"{quarantined:,} unreadable sessions lie in the table quarantine"
    return Finding("warning", "quarantine", message, "repair them by hand, or DELETE FROM quarantine")


def _space(path: str) -> Finding:
    disk = shutil.disk_usage(Path(path).parent)
    message = f"{disk.free / 2**30:,.1f} of {disk.total / 2**30:,.1f} GiB are free"
    if disk.free >= min(_LEAST * disk.total, _ROOM):
        return Finding("ok", "space", message)
    return Finding("warning", "space", f"{message}: when none is, no session is saved", "make room on the disk")
