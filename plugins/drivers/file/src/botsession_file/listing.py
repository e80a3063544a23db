"""Pages of a scan, and the removal of what has expired. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from botsession import CorruptSessionError, StoreError
from botsession.storage import Entry, records
from botsession_file import names
from botsession_file.errors import NotAFileError
from botsession_file.folder import SHARDS, Folder
from botsession_file.locks import LOCK, Call
from botsession_file.shard import Shard

if TYPE_CHECKING:
    from botsession import Lifetime

_PAGE: Final = 250
_HEAD: Final = 2048
"""How many bytes hold the head of any record: the id has at most 512, and twice as many if JSON escapes all of them."""

_CURSOR: Final = re.compile(r"([0-9a-f]{2})/([!-~]+)")


class _WithId(msgspec.Struct):
    id: str


_ids: Final = msgspec.json.Decoder(_WithId)


def page(
    folder: Folder, prefix: str, after: str | None, limit: int | None
) -> tuple[list[Entry | CorruptSessionError], str | None]:
    """Return one page of a scan and its cursor. It goes from shard to shard, and through each in the order of names.

    A page ends after `limit` files, so that it takes a bounded time however many of them have expired.
    """
    folder.check()
    first, last = _position(after)
    room = limit or _PAGE
    found: list[Entry | CorruptSessionError] = []
    for shard_name in SHARDS[SHARDS.index(first) :]:
        shard = folder.reader(shard_name)
        if shard is None:
            continue
        with shard:
            for name in shard.names():
                if (shard_name == first and name <= last) or not _may_match(name, prefix):
                    continue
                if not room:
                    return found, f"{first}/{last}"
                room -= 1
                first, last = shard_name, name
                entry = _entry(folder, shard, names.Place(shard_name, name))
                if entry is not None:
                    found.append(entry)
    return found, None


def purge(folder: Folder, lifetime: Lifetime, shard_name: str, call: Call) -> int:
    """Remove the expired sessions of one shard, leases that are over, and the drafts of killed writers.

    Returns:
        How many sessions were removed.
    """
    shard = folder.reader(shard_name)
    if shard is None:
        return 0
    with shard:
        due = list(_due(folder, lifetime, shard, shard_name, shard.names()))
        if not due and not shard.size(LOCK):
            return 0
    removed = 0
    with folder.writer(shard_name) as writer, writer.locked(call) as lock, lock.leases():
        for name in _due(folder, lifetime, writer, shard_name, due):
            writer.remove(name)  # if it is the draft of a writer that is alive, that writes another one
            removed += not names.is_draft(name)
    return removed


def _position(after: str | None) -> tuple[str, str]:
    if after is None:
        return SHARDS[0], ""
    match = _CURSOR.fullmatch(after)
    if match is None:
        raise StoreError(f"{after!r} is no cursor of a file store", remedy="Pass the `next` of the previous page.")
    return match[1], match[2]


def _may_match(name: str, prefix: str) -> bool:
    if not names.is_session(name):
        return False
    session_id = names.session_id(name) if prefix else None
    return session_id is None or session_id.startswith(prefix)


def _entry(folder: Folder, shard: Shard, place: names.Place) -> Entry | CorruptSessionError | None:
    """Return the head of a record, why there is none, or `None` if the file is gone."""
    where = f"{folder.path}/{place.shard}/{place.name}"
    session_id = names.session_id(place.name) or ""
    try:
        head = shard.read(place.name, _HEAD)
        if head is None:
            return None
        size = len(head) if len(head) < _HEAD else shard.size(place.name)
    except NotAFileError as error:
        return CorruptSessionError(session_id, store=where, raw=b"", reason=str(error))
    session_id = session_id or _id_in(head)
    if session_id and names.place(session_id) != place:
        return CorruptSessionError(session_id, store=where, raw=head, reason="the file belongs elsewhere")
    return Entry(session_id, head, size, where)


def _id_in(head: bytes) -> str:
    """Return the id in the head of a record, or an empty text if there is none."""
    header, _, _ = head.partition(b',"user":')
    try:
        return _ids.decode(header + b"}").id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _due(folder: Folder, lifetime: Lifetime, shard: Shard, shard_name: str, candidates: Iterable[str]) -> Iterator[str]:
    """Yield the names of drafts, and of files that hold sessions which have expired."""
    for name in candidates:
        if names.is_draft(name):
            yield name
        elif names.is_session(name):
            entry = _entry(folder, shard, names.Place(shard_name, name))
            if isinstance(entry, Entry) and _has_expired(entry, lifetime, shard, name):
                yield name


def _has_expired(entry: Entry, lifetime: Lifetime, shard: Shard, name: str) -> bool:
    """Return whether a session has expired; what cannot be read to its end stays for repair."""
    try:
        info = records.decode_info(entry.head, entry.session_id, store=name)
        if not lifetime.expired(info.expires_at):
            return False
        raw = shard.read(name)
        return raw is not None and bool(records.decode(raw, entry.session_id, store=name))
    except (CorruptSessionError, NotAFileError):
        return False
