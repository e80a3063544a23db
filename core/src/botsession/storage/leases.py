"""The lease of a session: who holds it, until when, and who is next.

Of use to a driver whose backend cannot decide by itself: it keeps the `Lease` of each session, as an object or as the
JSON that `msgspec` makes of it, and lets one caller at a time change it. Moments are seconds of any one clock.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

import msgspec

from botsession.protocol import Claim, Held


class Place(msgspec.Struct):
    """Somebody who waits for a lease.

    Attributes:
        holder: Whom the lease is kept for.
        until: Until when it asks again, or else has lost its place.
    """

    holder: str
    until: float


class Lease(msgspec.Struct):
    """The exclusive right to run turns of one session, and the queue for it.

    Attributes:
        holder: Who holds it; empty while nobody does.
        until: Until when.
        queue: Who waits, in order of arrival.
    """

    holder: str = ""
    until: float = 0.0
    queue: list[Place] = msgspec.field(default_factory=list)

    def claim(self, holder: str, now: float, *, ttl: float, again: float) -> float | None:
        """Takes the lease, or a place in the queue; who holds it already holds it for longer.

        Args:
            holder: Who wants it.
            now: The present moment.
            ttl: For how many seconds.
            again: Within how many seconds it asks again.

        Returns:
            `None` where it holds the lease now, otherwise in how many seconds it may be free.
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
        """Returns how many wait longer than a holder who waits."""
        return next((index for index, place in enumerate(self.queue) if place.holder == holder), 0)

    def renew(self, holder: str, now: float, *, ttl: float) -> bool:
        """Holds the lease longer; returns whether it had not ended yet."""
        if self.holder != holder or self.until <= now:
            return False
        self.until = now + ttl
        return True

    def release(self, holder: str, now: float) -> None:
        """Gives up the lease, or the place in the queue, where the holder has one."""
        if self.queue:
            self.queue = [place for place in self.queue if place.until > now and place.holder != holder]
        if self.holder == holder:
            self.holder = ""

    def end(self) -> None:
        """Ends the lease, whoever holds it; those who wait keep their places."""
        self.holder = ""

    def is_held_by(self, holder: str, now: float) -> bool:
        """Tells whether this holder has the lease, and its time is not over."""
        return self.holder == holder and self.until > now

    def is_held_by_another(self, holder: str, now: float) -> bool:
        """Tells whether somebody else holds the lease."""
        return self.holder not in ("", holder) and self.until > now

    def is_over(self, now: float) -> bool:
        """Tells whether nobody holds it and nobody waits, so that nothing is to be kept."""
        if self.holder and self.until > now:
            return False
        return not self.queue or all(place.until <= now for place in self.queue)


_SWEPT: Final = 2
"""How many leases each new one looks at: with more than one, those of dead holders go faster than they come."""


class LeaseTable(OrderedDict[str, Lease]):
    """The leases of a store that one process owns, by session id; those looked at longest ago come first."""

    def claim(self, claim: Claim, now: float) -> Held | None:
        """Take a lease; return `None` if its holder has it now, and otherwise who has it for how long."""
        lease = self.get(claim.session_id)
        if lease is None:
            if self:
                self._sweep(now, _SWEPT)
            lease = self[claim.session_id] = Lease()
        seconds = lease.claim(claim.holder, now, ttl=claim.ttl, again=claim.again)
        return None if seconds is None else Held(seconds, lease.ahead(claim.holder))

    def renew(self, session_id: str, holder: str, now: float, *, ttl: float) -> bool:
        """Hold a lease longer; return whether it had not ended yet."""
        lease = self.get(session_id)
        return lease is not None and lease.renew(holder, now, ttl=ttl)

    def is_held_by(self, session_id: str, holder: str, now: float) -> bool:
        """Return whether this holder has the lease, and its time is not over."""
        lease = self.get(session_id)
        return lease is not None and lease.is_held_by(holder, now)

    def release(self, session_id: str, holder: str, now: float) -> None:
        """Give up a lease, or a place in the queue for it."""
        lease = self.get(session_id)
        if lease is not None:
            lease.release(holder, now)
            self._drop_if_over(session_id, lease, now)

    def end(self, session_id: str, now: float) -> None:
        """End a lease, whoever holds it; waiters keep their places."""
        lease = self.get(session_id)
        if lease is not None:
            lease.end()
            self._drop_if_over(session_id, lease, now)

    def purge(self, now: float) -> None:
        """Forget all leases that are over."""
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
