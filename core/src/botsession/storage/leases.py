"""The lease of a session: who holds it, until when, and who is next.

Of use to a driver whose backend cannot decide by itself: it keeps the `Lease` of each session, as an object or as the
JSON that `msgspec` makes of it, and lets one caller at a time change it. Moments are seconds of any one clock.
"""

from __future__ import annotations

import msgspec


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
