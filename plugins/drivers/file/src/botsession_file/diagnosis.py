"""What in a directory, or in the disk under it, would lose sessions. Everything here blocks and runs in a worker thread."""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

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
    survey: _Survey = defaultdict(list)
    _check_mode(survey, path, str(path), path.stat(), _DIRECTORY_ACCESS)
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in folder.SHARDS and entry.is_dir(follow_symlinks=False):
                _survey_shard(survey, entry)
            elif entry.name != folder.MARK:
                survey["foreign"].append(entry.name)
    return [*_findings(survey, str(path)), _space(path), _file_system(path)]


_Survey = defaultdict[Literal["public", "refused", "foreign", "quarantined", "drafts"], list[str]]
"""The names of what needs attention, by kind."""


def _survey_shard(survey: _Survey, shard: os.DirEntry[str]) -> None:
    _check_mode(survey, shard.path, shard.name, shard.stat(), _DIRECTORY_ACCESS)
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
                _check_mode(survey, entry.path, name, status, os.R_OK)
            elif names.is_draft(entry.name):
                if time.time() - status.st_mtime > _OLD_SECONDS:
                    survey["drafts"].append(name)
            elif names.CORRUPT in entry.name:
                survey["quarantined"].append(name)
            elif entry.name != LOCK:
                survey["foreign"].append(name)


def _check_mode(survey: _Survey, path: str | Path, name: str, status: os.stat_result, access: int) -> None:
    if not os.access(path, access):
        survey["refused"].append(name)
    if stat.S_IMODE(status.st_mode) & 0o077 and not stat.S_ISLNK(status.st_mode):
        survey["public"].append(name)


def _findings(survey: _Survey, where: str) -> Iterator[Finding]:
    found = {kind: _some(names) for kind, names in survey.items()}
    if public := found.get("public"):
        yield Finding("warning", "permissions", f"other users may read or change {public}", f"chmod -R go= {where}")
    else:
        yield Finding("ok", "permissions", f"only the owner of {where!r} has access to it")
    if refused := found.get("refused"):
        remedy = f"chown -R {os.geteuid()} {where} && chmod -R u+rwX {where}"
        yield Finding("error", "permissions", f"this user may not use {refused}", remedy)
    if foreign := found.get("foreign"):
        remedy = "move them away: the directory is the store's own"
        yield Finding("warning", "foreign files", f"{foreign} belong to no session", remedy)
    if quarantined := found.get("quarantined"):
        message = f"{quarantined} were unreadable and quarantined"
        yield Finding("warning", "quarantine", message, "repair them by hand, or remove them")
    yield Finding("ok", "expiry", "expired sessions are absent at once; their files stay until they are purged")
    if drafts := found.get("drafts"):
        yield Finding("warning", "expiry", f"killed writers left {drafts}", "botsession purge")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + rest


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
