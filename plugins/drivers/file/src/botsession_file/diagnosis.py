"""What in a directory, or in the disk under it, would lose sessions. Everything here blocks and runs in a worker thread."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from botsession import Finding
from botsession_file import folder, names
from botsession_file.locks import LOCK

_NAMED: Final = 3
_OLD_SECONDS: Final = 3600
_LEAST_SHARE: Final = 0.05
_ROOM_BYTES: Final = 2**30
_ROOM_FILES: Final = 10_000
_DIRECTORY_ACCESS: Final = os.R_OK | os.W_OK | os.X_OK

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = ("9p", "afs", "ceph", "cifs", "fuse.", "gfs", "gluster", "lustre", "nfs", "ocfs", "smb", "virtiofs")
_VOLATILE: Final = {
    "tmpfs": "it is in memory: sessions end when this machine restarts",
    "ramfs": "it is in memory: sessions end when this machine restarts",
    "overlay": "it is a container's own layer: sessions end with the container",
}


def diagnose(path: Path) -> list[Finding]:
    """Examine the directory of a store and change nothing.

    Raises:
        OSError: It cannot be examined.
    """
    survey = _Survey(path)
    return [*survey.findings(), _space(path), _file_system(path)]


class _Survey:
    """What is in the directory: how many files of each kind, and the names of a few."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = time.time()
        self._public = _Names()
        self._refused = _Names()
        self._foreign = _Names()
        self._drafts = _Names()
        self._quarantined = _Names()
        self._check_mode(path.stat(), str(path), usable=os.access(path, _DIRECTORY_ACCESS))
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name in folder.SHARDS and entry.is_dir(follow_symlinks=False):
                    self._survey_shard(entry)
                elif entry.name != folder.MARK:
                    self._foreign.add(entry.name)

    def findings(self) -> list[Finding]:
        """Return the findings."""
        where = str(self._path)
        found = []
        if self._public:
            message = f"other users may read or change {self._public}"
            found.append(Finding("warning", "permissions", message, f"chmod -R go= {where}"))
        else:
            found.append(Finding("ok", "permissions", f"only the owner of {where!r} has access to it"))
        if self._refused:
            remedy = f"chown -R {os.geteuid()} {where} && chmod -R u+rwX {where}"
            found.append(Finding("error", "permissions", f"this user may not use {self._refused}", remedy))
        if self._foreign:
            remedy = "move them away: the directory is the store's own"
            found.append(Finding("warning", "foreign files", f"{self._foreign} belong to no session", remedy))
        if self._quarantined:
            message = f"{self._quarantined} were unreadable and quarantined"
            found.append(Finding("warning", "quarantine", message, "repair them by hand, or remove them"))
        message = "expired sessions are absent at once; their files stay until they are purged"
        found.append(Finding("ok", "expiry", message))
        if self._drafts:
            message = f"killed writers left {self._drafts}"
            found.append(Finding("warning", "expiry", message, "botsession purge"))
        return found

    def _survey_shard(self, shard: os.DirEntry[str]) -> None:
        self._check_mode(shard.stat(), shard.name, usable=os.access(shard.path, _DIRECTORY_ACCESS))
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
                    self._check_mode(status, name, usable=os.access(entry.path, os.R_OK))
                elif names.is_draft(entry.name):
                    if self._now - status.st_mtime > _OLD_SECONDS:
                        self._drafts.add(name)
                elif names.CORRUPT in entry.name:
                    self._quarantined.add(name)
                elif entry.name != LOCK:
                    self._foreign.add(name)

    def _check_mode(self, status: os.stat_result, name: str, *, usable: bool) -> None:
        if not usable:
            self._refused.add(name)
        if stat.S_IMODE(status.st_mode) & 0o077 and not stat.S_ISLNK(status.st_mode):
            self._public.add(name)


class _Names:
    """How many names there are, and the first few."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def __bool__(self) -> bool:
        return self._count > 0

    def __str__(self) -> str:
        rest = f" and {self._count - len(self._first):,} more" if self._count > len(self._first) else ""
        return ", ".join(map(repr, self._first)) + rest

    def add(self, name: str) -> None:
        self._count += 1
        if len(self._first) < _NAMED:
            self._first.append(name)


def _space(path: Path) -> Finding:
    disk = os.statvfs(path)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    message = f"{free / 2**30:,.1f} of {total / 2**30:,.1f} GiB are free"
    if free < min(_LEAST_SHARE * total, _ROOM_BYTES):
        return Finding("warning", "space", f"{message}; on a full disk no session is saved", "make room on the disk")
    if disk.f_files and disk.f_favail < min(_LEAST_SHARE * disk.f_files, _ROOM_FILES):
        message = f"the file system has room for {disk.f_favail:,} more files, and each session is one"
        return Finding("warning", "space", message, "remove files, or make a file system with more inodes")
    return Finding("ok", "space", message)


def _file_system(path: Path) -> Finding:
    kind = _kind(path)
    if kind is None:
        message = "this system does not say what kind of file system it is"
        return Finding("unknown", "file system", message, "make sure that it is a local disk")
    if kind.startswith(_NETWORK):
        message = (
            f"{kind} is a network file system: locks may not hold between machines, and a power cut may lose sessions"
        )
        remedy = "use a local disk; for bots on several machines, redis or mongo"
        return Finding("warning", "file system", message, remedy)
    if kind in _VOLATILE:
        return Finding("warning", "file system", f"{kind}: {_VOLATILE[kind]}", "choose a dirname on a disk or a volume")
    return Finding("ok", "file system", kind)


def _kind(path: Path) -> str | None:
    """Return the type of the file system, or `None` if the system does not say."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds = [mount.partition(" - ")[2].split()[0] for mount in mounts if mount.split()[2] == number]
    return kinds[0] if kinds else None
