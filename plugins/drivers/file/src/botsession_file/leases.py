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

_LONGEST: Final = 4096
"""The size up to which a lock file keeps its length, padded with spaces."""


class _Record(msgspec.Struct):
    at: float
    leases: dict[str, Lease]


_encode: Final = msgspec.json.Encoder().encode
_records: Final = msgspec.json.Decoder(_Record)


class LeaseFile:
    """The leases in a lock file, as a context manager for the holder of the lock; it saves them unless an error is raised.

    Args:
        descriptor: The lock file, open.
    """

    __slots__ = ("_descriptor", "_size", "_table")

    def __init__(self, descriptor: int) -> None:
        raw = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        self._table = LeaseTable(_decode(raw))
        self._descriptor = descriptor
        self._size = len(raw)

    def __enter__(self) -> LeaseTable:
        return self._table

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if kind is None:
            self._save()

    def _save(self) -> None:
        now = time.monotonic()
        kept = {session_id: lease for session_id, lease in self._table.items() if not lease.is_over(now)}
        raw = _encode(_Record(now, kept)) if kept else b""
        if self._size > max(len(raw), _LONGEST):
            os.ftruncate(self._descriptor, len(raw))
        else:  # overwriting is cheaper than truncating
            raw = raw.ljust(self._size)
        if raw and os.pwrite(self._descriptor, raw, 0) < len(raw):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _decode(raw: bytes) -> dict[str, Lease]:
    if not raw.strip():
        return {}
    try:
        record = _records.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return record.leases if record.at <= time.monotonic() else {}
