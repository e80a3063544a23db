"""What in a directory, or in the disk that it lies on, would lose sessions. All of it blocks, and runs in a thread."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from botsession import Finding
from botsession_file import folder, names
from botsession_file.locking import LOCK
from botsession_file.shard import CORRUPT, is_temporary

_FEW: Final = 3
_OLD_SECONDS: Final = 3600
_LEAST_SHARE: Final = 0.05
_ROOM_BYTES: Final = 2**30
_ROOM_FILES: Final = 10_000

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = ("9p", "afs", "ceph", "cifs", "fuse.", "gfs", "gluster", "lustre", "nfs", "ocfs", "smb", "virtiofs")
_FLEETING: Final = {
    "tmpfs": "it lies in memory: sessions end when this machine restarts",
    "ramfs": "it lies in memory: sessions end when this machine restarts",
    "overlay": "it lies in a container's own layer: sessions end with the container",
}


def diagnose(path: Path) -> list[Finding]:
    """Looks at the directory of a store, and changes nothing.

    Raises:
        OSError: It cannot be looked at.
    """
    seen = _Seen(path)
    return [*seen.findings(), _space(path), _file_system(path)]


class _Seen:
    """What lies in the directory: how much, and the first few names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = time.time()
        self._others = _Names()
        self._refused = _Names()
        self._foreign = _Names()
        self._left = _Names()
        self._aside = _Names()
        self._look(path.stat(), str(path), readable=os.access(path, os.R_OK | os.W_OK | os.X_OK))
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name in folder.SHARDS and entry.is_dir(follow_symlinks=False):
                    self._shard(entry)
                elif entry.name != folder._MARK:
                    self._foreign.add(entry.name)

    def findings(self) -> list[Finding]:
        """Returns what is to be said of it."""
        where = str(self._path)
        found = [Finding("ok", "permissions", f"{where!r} is open to its owner only")]
        if self._others.count:
            message = f"other users may read or change {self._others}"
            found = [Finding("warning", "permissions", message, f"chmod -R go= {where}")]
        if self._refused.count:
            message = f"this user may not use {self._refused}"
            found.append(
                Finding("error", "permissions", message, f"chown -R {os.geteuid()} {where} && chmod -R u+rwX {where}")
            )
        if self._foreign.count:
            message = f"{self._foreign} belong to no session"
            found.append(
                Finding("warning", "foreign files", message, "move them away: the directory is the store's own")
            )
        if self._aside.count:
            message = f"{self._aside} were unreadable and put aside"
            found.append(Finding("warning", "quarantine", message, "repair them by hand, or remove them"))
        expiry = "expired sessions are absent at once; their files stay until they are purged"
        found.append(Finding("ok", "expiry", expiry))
        if self._left.count:
            message = f"killed writers left {self._left}"
            found.append(Finding("warning", "expiry", message, "botsession purge"))
        return found

    def _shard(self, shard: os.DirEntry[str]) -> None:
        self._look(shard.stat(), shard.name, readable=os.access(shard.path, os.R_OK | os.W_OK | os.X_OK))
        if not os.access(shard.path, os.R_OK | os.X_OK):
            return
        with os.scandir(shard.path) as entries:
            for entry in entries:
                name = f"{shard.name}/{entry.name}"
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.name.endswith(names.SUFFIX):
                    self._look(status, name, readable=os.access(entry.path, os.R_OK))
                elif is_temporary(entry.name):
                    if self._now - status.st_mtime > _OLD_SECONDS:
                        self._left.add(name)
                elif CORRUPT in entry.name:
                    self._aside.add(name)
                elif entry.name != LOCK:
                    self._foreign.add(name)

    def _look(self, status: os.stat_result, name: str, *, readable: bool) -> None:
        if not readable:
            self._refused.add(name)
        if stat.S_IMODE(status.st_mode) & 0o077 and not stat.S_ISLNK(status.st_mode):
            self._others.add(name)


class _Names:
    """How many there are, and the first few."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def __str__(self) -> str:
        rest = f" and {self.count - len(self._first):,} more" if self.count > len(self._first) else ""
        return ", ".join(map(repr, self._first)) + rest

    def add(self, name: str) -> None:
        self.count += 1
        if len(self._first) < _FEW:
            self._first.append(name)


def _space(path: Path) -> Finding:
    disk = os.statvfs(path)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    message = f"{free / 2**30:,.1f} of {total / 2**30:,.1f} GiB are free"
    if free < min(_LEAST_SHARE * total, _ROOM_BYTES):
        return Finding("warning", "space", f"{message}: when none is, no session is saved", "make room on the disk")
    if disk.f_files and disk.f_favail < min(_LEAST_SHARE * disk.f_files, _ROOM_FILES):
        message = f"the file system has room for {disk.f_favail:,} more files, and each session is one"
        return Finding("warning", "space", message, "remove files, or make a file system with more inodes")
    return Finding("ok", "space", message)


def _file_system(path: Path) -> Finding:
    kind = _kind(path)
    if kind is None:
        message = "this system does not tell what kind of file system it is"
        return Finding("unknown", "file system", message, "see that it is a local disk")
    if kind.startswith(_NETWORK):
        message = (
            f"{kind} is shared over a network: locks may not hold between machines, nor a capability cut be survived"
        )
        return Finding(
            "warning", "file system", message, "use a local disk; for bots on several machines, redis or mongo"
        )
    if kind in _FLEETING:
        return Finding("warning", "file system", f"{kind}: {_FLEETING[kind]}", "choose a dirname on a disk or a volume")
    return Finding("ok", "file system", kind)


def _kind(path: Path) -> str | None:
    """Returns the type of the file system; `None` where the system does not tell."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds = [mount.partition(" - ")[2].split()[0] for mount in mounts if mount.split()[2] == number]
    return kinds[0] if kinds else None
