"""What lies in the directory of a store: pages of a scan, and the removal of what has expired. All of it blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from botsession import (
    CorruptSessionError,
    ScanPage,
    SessionInfo,
    StoreError,
)
from botsession.storage import records
from botsession_file import leases, names
from botsession_file.folder import SHARDS, Folder
from botsession_file.locking import LOCK, Call
from botsession_file.shard import NoFileError, Shard, is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botsession import Lifetime

_PAGE: Final = 1000
_HEAD: Final = 2048
"""How many bytes hold the header of any session: the id has at most 512, twice that where JSON escapes all of them."""

_CURSOR: Final = re.compile(r"([0-9a-f]{2})/([!-~]+)")


class _WithId(msgspec.Struct):
    id: str


_ids: Final = msgspec.json.Decoder(_WithId)


def page(folder: Folder, lifetime: Lifetime, prefix: str, after: str | None, limit: int | None) -> ScanPage:
    """Returns one page of a scan; goes from subdirectory to subdirectory, each in the order of its names.

    It ends when `limit` files were looked into, so that a page takes a bounded time however many have expired.
    """
    folder.check()
    first, last = _position(after)
    room = limit or _PAGE
    found: list[SessionInfo | CorruptSessionError] = []
    for shard_name in SHARDS[SHARDS.index(first) :]:
        shard = folder.shard(shard_name)
        if shard is None:
            continue
        with shard:
            for name in shard.names():
                if (shard_name == first and name <= last) or not _may_match(name, prefix):
                    continue
                if not room:
                    return ScanPage.of(found, f"{first}/{last}")
                room -= 1
                first, last = shard_name, name
                info = _info(folder, shard, shard_name, name)
                if isinstance(info, SessionInfo) and (
                    not info.id.startswith(prefix) or lifetime.expired(info.expires_at)
                ):
                    continue
                if info is not None:
                    found.append(info)
    return ScanPage.of(found, None)


def purge(folder: Folder, lifetime: Lifetime, shard_name: str, call: Call) -> int:
    """Removes what has expired in one subdirectory, leases that are over, and what killed writers left.

    Returns:
        How many sessions were removed.
    """
    shard = folder.shard(shard_name)
    if shard is None:
        return 0
    with shard:
        due = list(_due(folder, lifetime, shard, shard_name, shard.names()))
        if not due and not _any_lease_over(shard):
            return 0
    removed = 0
    with folder.changing(shard_name) as changing, changing.locked(call) as lock:
        # A temporary file was left by a writer that is dead, or its writer will write another.
        for name in _due(folder, lifetime, changing, shard_name, due):
            changing.remove(name)
            removed += not is_temporary(name)
        lock.leases().save()
    return removed


def _due(folder: Folder, lifetime: Lifetime, shard: Shard, shard_name: str, candidates: list[str]) -> Iterator[str]:
    for name in candidates:
        if name.startswith("."):
            if is_temporary(name):
                yield name
        elif name.endswith(names.SUFFIX):
            info = _info(folder, shard, shard_name, name)
            if isinstance(info, SessionInfo) and lifetime.expired(info.expires_at) and _is_whole(shard, name, info.id):
                yield name


def _is_whole(shard: Shard, name: str, session_id: str) -> bool:
    """Tells whether a file can be read to its end, not only its beginning: what is unreadable stays for repair."""
    try:
        raw = shard.read(name)
        return raw is not None and records.decode(raw, session_id, store=name) is not None
    except (CorruptSessionError, NoFileError):
        return False


def _any_lease_over(shard: Shard) -> bool:
    try:
        return leases.any_over(shard.read(LOCK) or b"")
    except NoFileError:
        return True  # to lock it tells what is wrong


def _position(after: str | None) -> tuple[str, str]:
    if after is None:
        return SHARDS[0], ""
    match = _CURSOR.fullmatch(after)
    if match is None:
        raise StoreError(f"{after!r} is no cursor of a file store; pass the `next` of the page before")
    return match[1], match[2]


def _may_match(name: str, prefix: str) -> bool:
    if name.startswith(".") or not name.endswith(names.SUFFIX):
        return False
    told = names.session_id(name) if prefix else None
    return told is None or told.startswith(prefix)


def _info(folder: Folder, shard: Shard, shard_name: str, name: str) -> SessionInfo | CorruptSessionError | None:
    """Returns what the beginning of a file tells; `None` where the file is gone."""
    file = f"{folder.path}/{shard_name}/{name}"
    raw: bytes | None = b""
    try:
        raw = shard.read(name, _HEAD)
        if raw is None:
            return None
        session_id = names.session_id(name) or _id_in(raw)
        size = len(raw) if len(raw) < _HEAD else shard.size(name)
        info = records.decode_info(raw, session_id, store=file, size=size)
    except CorruptSessionError as error:
        return error
    except NoFileError as error:
        session_id, reason = names.session_id(name) or "", str(error)
    else:
        if names.place(session_id) == (shard_name, name):
            return info
        reason = "its place is elsewhere"
    return CorruptSessionError(session_id, store=file, raw=raw or b"", reason=reason)


def _id_in(raw: bytes) -> str:
    """Returns the id that a header tells; an empty text where it tells none."""
    head, _, _ = raw.partition(b',"user":')
    try:
        return _ids.decode(head + b"}").id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
