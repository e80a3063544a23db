"""The leases, as rows of their table.

Moments are those of `time.monotonic`, which all processes of a machine share and which begins anew when it starts: what
was changed later than now was changed before that, and is over. A lease that cannot be read is none: leases keep turns in
order, and the version keeps sessions whole.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import aiosqlite
import msgspec

from botsession import Claim, Held
from botsession.storage.leases import Lease
from botsession_sqlite import statements
from botsession_sqlite.batches import as_parameter
from botsession_sqlite.connection import fetch

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Lease).decode


class Leases:
    """The leases, for who has begun a transaction.

    Args:
        db: The connection, which holds the write lock, so that no later moment is in the table.
    """

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db
        self._now = time.monotonic()

    async def claim(self, claim: Claim) -> Held | None:
        """Takes a lease, or a place in its queue."""
        lease = await self._load(claim.session_id)
        seconds = lease.claim(claim.holder, self._now, ttl=claim.ttl, again=claim.again)
        await self._save(claim.session_id, lease)
        return None if seconds is None else Held(seconds, lease.ahead(claim.holder))

    async def renew(self, session_id: str, holder: str, ttl: float) -> bool:
        """Holds a lease longer; returns whether it had not ended yet."""
        lease = await self._load(session_id)
        renewed = lease.renew(holder, self._now, ttl=ttl)
        if renewed:
            await self._save(session_id, lease)
        return renewed

    async def release(self, session_id: str, holder: str) -> None:
        """Gives up a lease or a place in its queue."""
        lease = await self._load(session_id)
        lease.release(holder, self._now)
        await self._save(session_id, lease)

    async def end(self, session_ids: Sequence[str]) -> None:
        """Ends leases, whoever holds them or waits for them."""
        await fetch(self._db, statements.END_LEASES, {"ids": as_parameter(session_ids)})

    async def lost(self, holders: Mapping[str, str]) -> list[str]:
        """Returns the sessions whose lease its holder does not hold any more."""
        return [
            session_id
            for session_id, holder in holders.items()
            if not (await self._load(session_id)).is_held_by(holder, self._now)
        ]

    async def purge(self) -> None:
        """Removes all that are over."""
        await fetch(self._db, statements.PURGE_LEASES, {"now": self._now})

    async def _load(self, session_id: str) -> Lease:
        found = await fetch(self._db, statements.LEASE, {"id": session_id, "now": self._now})
        try:
            return _decode(found[0][0]) if found else Lease()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Lease()

    async def _save(self, session_id: str, lease: Lease) -> None:
        if lease.is_over(self._now):
            await fetch(self._db, statements.DROP_LEASE, {"id": session_id})
            return
        ends_at = max(lease.until if lease.holder else self._now, *(place.until for place in lease.queue), self._now)
        row = {"id": session_id, "lease": _encode(lease).decode(), "now": self._now, "ends_at": ends_at}
        await fetch(self._db, statements.KEEP_LEASE, row)
