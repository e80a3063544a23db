"""Leases: taken together with the read, renewed, and given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from botsession import Claim, Held
from botsession.storage import Found
from botsession_redis.connection import Connection
from botsession_redis.keys import Keys
from botsession_redis.scripts import LEASES, Call, Command, Script

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
"""Take leases and read their sessions: the stored text, or the milliseconds until the lease may be free and the number of waiters ahead.

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
"""Renew leases: 1, or 0 if the holder no longer has it. Key: the lease. Arguments: the holder; milliseconds."""

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
"""Release leases, or leave their queues. Key: the lease. Argument: the holder."""


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
        replies: dict[str, Any] = {}
        if not self._connection.is_cluster:
            # A free lease does not need a script. Redirected commands of a cluster might read before they take the lease.
            commands: list[Command] = []
            for claim in claims:
                key, lease = self._keys.pair(claim.session_id)
                commands += ("SET", lease, claim.holder, "NX", "PX", _milliseconds(claim.ttl)), ("GET", key)
            sent = await self._connection.send(commands)
            for claim, taken, found in zip(claims, sent[::2], sent[1::2], strict=True):
                if taken is not None:
                    replies[claim.session_id] = taken if isinstance(taken, Exception) else found
        others = [claim for claim in claims if claim.session_id not in replies]
        if others:
            calls: list[Call] = []
            for claim in others:
                arguments = claim.holder, _milliseconds(claim.ttl), _milliseconds(claim.again)
                calls.append((self._keys.pair(claim.session_id), arguments))
            for claim, reply in zip(others, await self._connection.run(CLAIM, calls), strict=True):
                replies[claim.session_id] = Held(reply[0] / 1000, reply[1]) if isinstance(reply, list) else reply
        return [
            self._connection.explain(reply, session_id) if isinstance(reply, Exception) else reply
            for session_id, reply in ((claim.session_id, replies[claim.session_id]) for claim in claims)
        ]

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
