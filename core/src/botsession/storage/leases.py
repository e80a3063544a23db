"""The lease of a session: its holder, its end, and the queue for it.

For a driver whose backend has no such logic of its own: it keeps the `Lease` of each session, as an object or as the JSON that
`msgspec` makes of it, and lets one caller at a time change it. All times are seconds of one clock, the same for every process
that shares the leases; never that of `Lifetime`, which tests stop.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

import msgspec

from botsession.protocol import Claim, Held


class Place(msgspec.Struct):
    """A place in the queue for a lease.

    Attributes:
        holder: The waiter.
        until: When the waiter loses its place, unless it asks again before.
    """

    holder: str
    until: float


class Lease(msgspec.Struct):
    """The exclusive right to run turns of one session, and the queue for it.

    Attributes:
        holder: The holder; empty if there is none.
        until: When the lease ends.
        queue: The waiters, in order of arrival.
    """

    holder: str = ""
    until: float = 0.0
    queue: list[Place] = msgspec.field(default_factory=list)

    def claim(self, holder: str, now: float, *, ttl: float, again: float) -> float | None:
        """Take the lease or a place in the queue. A holder that claims its lease again renews it.

        Args:
            holder: Who claims the lease.
            now: The present time.
            ttl: For how many seconds.
            again: Within how many seconds the holder asks again, if it has to wait.

        Returns:
            `None` if the holder has the lease now; otherwise after how many seconds it may be free.
        """
        if not self.queue and not self.holder:
            self.holder, self.until = holder, now + ttl
            return None
        if self.queue:
            self.queue = [place for place in self.queue if place.until > now or place.holder == holder]
        first = self.queue[0] if self.queue else None
        if self.renew(holder, now, ttl=ttl):
            return None
        if self.is_held_by_another(holder, now):
            free = self.until
        elif first is None or first.holder == holder:
            self.queue = self.queue[1:]
            self.holder, self.until = holder, now + ttl
            return None
        else:
            free = first.until
        mine = next((place for place in self.queue if place.holder == holder), None)
        if mine is None:
            self.queue.append(Place(holder, now + again))
        else:
            mine.until = now + again
        return free - now

    def ahead(self, holder: str) -> int:
        """Return how many waiters are ahead of a holder in the queue."""
        return next((index for index, place in enumerate(self.queue) if place.holder == holder), 0)

    def renew(self, holder: str, now: float, *, ttl: float) -> bool:
        """Renew the lease; return whether the holder still had it."""
        if self.holder != holder or self.until <= now:
            return False
        self.until = now + ttl
        return True

    def release(self, holder: str, now: float) -> None:
        """Release the lease or the place in the queue, if the holder has one."""
        if self.queue:
            self.queue = [place for place in self.queue if place.until > now and place.holder != holder]
        if self.holder == holder:
            self.holder = ""

    def end(self) -> None:
        """End the lease, whoever holds it. Waiters keep their places."""
        self.holder = ""

    def is_held_by(self, holder: str, now: float) -> bool:
        """Return whether this holder has the lease."""
        return self.holder == holder and self.until > now

    def is_held_by_another(self, holder: str, now: float) -> bool:
        """Return whether another holder has the lease."""
        return self.holder not in ("", holder) and self.until > now

    def is_over(self, now: float) -> bool:
        """Return whether nobody holds the lease or waits for it, so that it need not be kept."""
        if self.holder and self.until > now:
            return False
        return not self.queue or all(place.until <= now for place in self.queue)


_SWEPT: Final = 2
"""How many other leases each new one checks; with more than one, leases of dead holders are removed faster than they appear."""


class LeaseTable(OrderedDict[str, Lease]):
    """The leases of many sessions, by session id, for whoever has them to itself; least recently checked first."""

    def claim(self, claim: Claim, now: float) -> Held | None:
        """Take a lease or a place in the queue; return `None` if the claim's holder has the lease now."""
        lease = self.get(claim.session_id)
        if lease is None:
            if self:
                self._sweep(now, _SWEPT)
            lease = self[claim.session_id] = Lease()
        seconds = lease.claim(claim.holder, now, ttl=claim.ttl, again=claim.again)
        return None if seconds is None else Held(seconds, lease.ahead(claim.holder))

    def renew(self, session_id: str, holder: str, now: float, *, ttl: float) -> bool:
        """Renew a lease; return whether the holder still had it."""
        lease = self.get(session_id)
        return lease is not None and lease.renew(holder, now, ttl=ttl)

    def is_held_by(self, session_id: str, holder: str, now: float) -> bool:
        """Return whether this holder has the lease."""
        lease = self.get(session_id)
        return lease is not None and lease.is_held_by(holder, now)

    def release(self, session_id: str, holder: str, now: float) -> None:
        """Release a lease, or a place in the queue for it."""
        lease = self.get(session_id)
        if lease is not None:
            lease.release(holder, now)
            self._drop_if_over(session_id, lease, now)

    def end(self, session_id: str, now: float) -> None:
        """End a lease, whoever holds it. Waiters keep their places."""
        lease = self.get(session_id)
        if lease is not None:
            lease.end()
            self._drop_if_over(session_id, lease, now)

    def purge(self, now: float) -> None:
        """Remove all leases that are over."""
        self._sweep(now, len(self))

    def _sweep(self, now: float, most: int) -> None:
        for session_id in list(islice(self, most)):
            if self[session_id].is_over(now):
                del self[session_id]
            else:
                self.move_to_end(session_id)

    def _drop_if_over(self, session_id: str, lease: Lease, now: float) -> None:
        if lease.is_over(now):
            del self[session_id]
