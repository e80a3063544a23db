"""Leases: taken with the read, held longer, given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from botsession import (
    Claim,
    Clock,
    Held,
    StoredSession,
    StoreError,
)
from botsession_redis import scripts
from botsession_redis.keys import Keys
from botsession_redis.link import Link

Reading = Callable[[str, Any, datetime], StoredSession | StoreError | None]
"""Returns the session of an id in what the server has answered, or the error that tells why it is none."""


class Leases:
    """The leases of one store."""

    def __init__(self, link: Link, keys: Keys, clock: Clock, reading: Reading) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._reading = reading

    async def take(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        """Takes leases and reads the sessions; see `SupportsLease.lease_many`."""
        if len(claims) == 1 and not self._link.is_cluster:
            [claim] = claims
            key, lease = self._keys.both(claim.session_id)
            taken, found = await self._link.send_all(
                [("SET", lease, claim.holder, "NX", "PX", _milliseconds(claim.ttl)), ("GET", key)]
            )
            if taken is not None:
                return self._outcomes(claims, [taken if isinstance(taken, Exception) else found])
        calls = [
            (self._keys.both(claim.session_id), (claim.holder, _milliseconds(claim.ttl), _milliseconds(claim.again)))
            for claim in claims
        ]
        return self._outcomes(claims, await self._link.run(scripts.LEASE, calls))

    async def renew(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """Holds leases longer; see `SupportsLease.renew_leases`."""
        calls = [
            ((self._keys.both(session_id)[1],), (holder, _milliseconds(ttl))) for session_id, holder in holders.items()
        ]
        outcomes = await self._link.run(scripts.RENEW, calls)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise self._link.explain(outcome)
        return [bool(outcome) for outcome in outcomes]

    async def release(self, holders: Mapping[str, str]) -> None:
        """Gives leases up; see `SupportsLease.release_leases`."""
        calls = [((self._keys.both(session_id)[1],), (holder,)) for session_id, holder in holders.items()]
        for outcome in await self._link.run(scripts.RELEASE, calls):
            if isinstance(outcome, Exception):
                raise self._link.explain(outcome)

    def _outcomes(
        self, claims: Sequence[Claim], replies: Sequence[Any]
    ) -> list[StoredSession | Held | StoreError | None]:
        now = self._clock()
        return [
            Held(reply[0] / 1000, reply[1]) if isinstance(reply, list) else self._reading(claim.session_id, reply, now)
            for claim, reply in zip(claims, replies, strict=True)
        ]


@lru_cache(maxsize=8)
def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
