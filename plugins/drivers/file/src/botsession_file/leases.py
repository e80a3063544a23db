"""The leases of the sessions in one shard, in its lock file, which is open and locked for every change anyway.

    {"at":5023.1,"leases":{"telegram:42":{"holder":"60303ae22b998861","until":5053.1,"queue":[]}}}

Moments are those of `time.monotonic`, which all processes of a machine share and which starts over when the machine starts.
A file that was written "later" than now is from before, and its leases are over. Nothing is synced, since no holder outlives
the machine. A file that cannot be read holds no leases: leases keep turns in order, and versions protect the sessions.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Final

import msgspec

from botsession.storage.leases import Lease, LeaseTable

_CHUNK: Final = 4096


class _Record(msgspec.Struct):
    at: float
    leases: dict[str, Lease]


_encode: Final = msgspec.json.Encoder().encode
_records: Final = msgspec.json.Decoder(_Record)


class LeaseFile:
    """The leases in a lock file; the caller holds the lock, and nothing is stored before `save`.

    Args:
        descriptor: The lock file, open.

    Attributes:
        table: The leases by session id.
    """

    __slots__ = ("_descriptor", "_size", "table")

    def __init__(self, descriptor: int) -> None:
        raw = _read(descriptor)
        self.table = LeaseTable(_decode(raw))
        self._descriptor = descriptor
        self._size = len(raw)

    def save(self) -> None:
        """Store the leases that are not over."""
        now = time.monotonic()
        kept = {session_id: lease for session_id, lease in self.table.items() if not lease.is_over(now)}
        raw = _encode(_Record(now, kept)) if kept else b""
        if self._size > max(len(raw), _CHUNK):
            os.ftruncate(self._descriptor, len(raw))
        else:  # overwriting is cheaper than truncating
            raw = raw.ljust(self._size)
        if raw and os.pwrite(self._descriptor, raw, 0) < len(raw):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size = len(raw)


def has_leftovers(raw: bytes) -> bool:
    """Return whether a lock file holds something that it need not keep, such as a lease that is over."""
    now = time.monotonic()
    leases = _decode(raw)
    return any(lease.is_over(now) for lease in leases.values()) if leases else bool(raw.strip())


def _decode(raw: bytes) -> dict[str, Lease]:
    if not raw.strip():
        return {}
    try:
        record = _records.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return record.leases if record.at <= time.monotonic() else {}


def _read(descriptor: int) -> bytes:
    raw = chunk = os.pread(descriptor, _CHUNK, 0)
    while len(chunk) == _CHUNK:
        chunk = os.pread(descriptor, _CHUNK, len(raw))
        raw += chunk
    return raw
