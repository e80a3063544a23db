"""Leases: taken together with the read, renewed, and given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from botsession import Claim, Held
from botsession.storage import Found
from botsession_redis.connection import Connection
from botsession_redis.keys import Keys
from botsession_redis.scripts import LEASES, Call, Script


CLAIM: Final = Script(
    LEASES
    + """
local outcomes = {}
for i = 1, #KEYS, 2 do
  local key, holder, ttl, again = KEYS[i + 1], unpack(ARGV, (i - 1) / 2 * 3 + 1, (i - 1) / 2 * 3 + 3)
  local free_in, ahead
  if not redis.call('SET', key, holder, 'NX', 'PX', ttl) then
    local now = now()
    local lease, queue = load(key, now)
    local waiting, mine = {}, nil
    for _, place in ipairs(queue) do
      if place.name == holder then mine = place end
      if place.name == holder or place.ends > now then waiting[#waiting + 1] = place end
    end
    if lease.held and lease.name ~= holder then
      free_in = lease.ends - now
    elseif not lease.held and waiting[1] and waiting[1] ~= mine then
      free_in = waiting[1].ends - now
    end
    if free_in then
      if not mine then
        mine = {name = holder}
        waiting[#waiting + 1] = mine
      end
      mine.ends = now + again
      for place = 1, #waiting do
        if waiting[place] == mine then ahead = place - 1 end
      end
      save(key, lease, waiting, now)
    else
      save(key, {name = holder, ends = now + ttl}, without(waiting, holder, now), now)
    end
  end
  outcomes[#outcomes + 1] = free_in and {free_in, ahead} or redis.pcall('GET', KEYS[i])
end
return outcomes
"""
)
"""Takes leases and reads: what is stored, or in how many milliseconds the lease may be free and how many others wait longer.

Keys: the session, its lease. Arguments: the holder; for how many milliseconds; within how many it asks again.
"""

RENEW: Final = Script(
    LEASES
    + """
local outcomes = {}
local now = now()
for i, key in ipairs(KEYS) do
  local holder, ttl = ARGV[2 * i - 1], ARGV[2 * i]
  local lease, queue = load(key, now)
  if lease.held and lease.name == holder then
    lease.ends = now + ttl
    save(key, lease, queue, now)
    outcomes[i] = 1
  else
    outcomes[i] = 0
  end
end
return outcomes
"""
)
"""Renews leases: 1, or 0 if the holder no longer has it. Key: the lease. Arguments: the holder; milliseconds."""

RELEASE: Final = Script(
    LEASES
    + """
local outcomes = {}
for i, key in ipairs(KEYS) do
  give_up(text_of(key), key, ARGV[i])
  outcomes[i] = 1
end
return outcomes
"""
)
"""Gives up leases, or places in their queues. Key: the lease. Argument: the holder."""


class Leases:
    """The leases of one store.

    Args:
        connection: The way to the server.
        keys: The keys of the store.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def claim(self, claims: Sequence[Claim]) -> list[Found | Held]:
        """Take each lease and read its session; return the text, or `Held`."""
        connection, keys = self._connection, self._keys
        if len(claims) == 1 and not connection.is_cluster:
            [claim] = claims
            key, lease = keys.pair(claim.session_id)
            # In one round trip as well, and the server does not have to run a script.
            taken, found = await connection.send(
                [("SET", lease, claim.holder, "NX", "PX", _milliseconds(claim.ttl)), ("GET", key)]
            )
            if isinstance(taken, Exception):
                return [connection.explain(taken, claim.session_id)]
            if taken is not None:
                return [connection.explain(found, claim.session_id) if isinstance(found, Exception) else found]
        replies = await connection.run(
            CLAIM,
            [
                (keys.pair(claim.session_id), (claim.holder, _milliseconds(claim.ttl), _milliseconds(claim.again)))
                for claim in claims
            ],
        )
        outcomes: list[Found | Held] = []
        for claim, reply in zip(claims, replies, strict=True):
            if isinstance(reply, list):
                outcomes.append(Held(reply[0] / 1000, reply[1]))
            elif isinstance(reply, Exception):
                outcomes.append(connection.explain(reply, claim.session_id))
            else:
                outcomes.append(reply)
        return outcomes

    async def renew(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """See `SupportsLease.renew_leases`."""
        milliseconds = _milliseconds(ttl)
        calls = [((self._keys.pair(each)[1],), (holder, milliseconds)) for each, holder in holders.items()]
        return [outcome == 1 for outcome in await self._run(RENEW, calls)]

    async def release(self, holders: Mapping[str, str]) -> None:
        """See `SupportsLease.release_leases`."""
        await self._run(RELEASE, [((self._keys.pair(each)[1],), (holder,)) for each, holder in holders.items()])

    async def _run(self, script: Script, calls: Sequence[Call]) -> list[object]:
        outcomes = await self._connection.run(script, calls)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise self._connection.explain(outcome)
        return outcomes


@lru_cache(maxsize=8)
def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
