"""The leases of the sessions in one subdirectory. They lie in its lock file, which is open and locked anyway.

    {"at":5023.1,"leases":{"telegram:42":{"holder":"60303ae22b998861","until":5053.1,"queue":[]}}}

Moments are those of `time.monotonic`, which all processes of a machine share and which begins anew when it starts: what
was written later than now was written before that, and is over. Nothing is synced, since no holder survives the machine.
A file that cannot be read holds no leases: they keep turns in order, and the version keeps sessions whole.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from botsession import Held
from botsession.storage.leases import Lease

if TYPE_CHECKING:
    from botsession import Claim

_CHUNK: Final = 4096


class _Record(msgspec.Struct):
    at: float
    leases: dict[str, Lease]


_encode: Final = msgspec.json.Encoder().encode
_records: Final = msgspec.json.Decoder(_Record)


class Leases:
    """The leases, for who holds the lock; nothing is changed before `save`.

    Args:
        descriptor: The lock file, open.
    """

    __slots__ = ("_descriptor", "_leases", "_size")

    def __init__(self, descriptor: int) -> None:
        raw = _read(descriptor)
        self._descriptor = descriptor
        self._size = len(raw)
        self._leases = _leases(raw)

    def claim(self, claim: Claim) -> Held | None:
        """Takes a lease, or a place in its queue."""
        lease = self._leases.setdefault(claim.session_id, Lease())
        seconds = lease.claim(claim.holder, time.monotonic(), ttl=claim.ttl, again=claim.again)
        return None if seconds is None else Held(seconds, lease.ahead(claim.holder))

    def renew(self, session_id: str, holder: str, ttl: float) -> bool:
        """Holds a lease longer; returns whether it had not ended yet."""
        lease = self._leases.get(session_id)
        return lease is not None and lease.renew(holder, time.monotonic(), ttl=ttl)

    def release(self, session_id: str, holder: str) -> None:
        """Gives up a lease or a place in its queue."""
        lease = self._leases.get(session_id)
        if lease is not None:
            lease.release(holder, time.monotonic())

    def end(self, session_id: str) -> None:
        """Ends a lease, whoever holds it."""
        lease = self._leases.get(session_id)
        if lease is not None:
            lease.end()

    def is_held_by(self, session_id: str, holder: str) -> bool:
        """Tells whether this holder has the lease, and its time is not over."""
        lease = self._leases.get(session_id)
        return lease is not None and lease.is_held_by(holder, time.monotonic())

    def save(self) -> None:
        """Writes down those that are not over."""
        now = time.monotonic()
        kept = {session_id: lease for session_id, lease in self._leases.items() if not lease.is_over(now)}
        raw = _encode(_Record(now, kept)) if kept else b""
        if self._size > max(len(raw), _CHUNK):
            os.ftruncate(self._descriptor, len(raw))
        else:  # to overwrite is cheaper than to shorten
            raw = raw.ljust(self._size)
        if raw and os.pwrite(self._descriptor, raw, 0) < len(raw):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size = len(raw)


def any_over(raw: bytes) -> bool:
    """Tells whether a lock file holds something that it need not hold any more."""
    now = time.monotonic()
    leases = _leases(raw)
    return any(lease.is_over(now) for lease in leases.values()) if leases else bool(raw.strip())


def _leases(raw: bytes) -> dict[str, Lease]:
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
