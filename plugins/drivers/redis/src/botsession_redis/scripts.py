"""The scripts that run inside the server, where reading, deciding and writing are one step.

Each looks only at the beginning of a record (`version`, `expires_at`, `last_activity`), by a pattern that also takes the
blanks which a tool may have put in. What differs from call to call is an argument, never a part of the script.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

Argument = bytes | str | int
Command = tuple[Argument, ...]
Call = tuple[tuple[bytes, ...], tuple[Argument, ...]]
"""The keys of one session, and the script's arguments for it."""


_HEAD: Final = re.compile(
    rb'{"version":"[^"]*","expires_at":"[^",}\s]*","last_activity":"[^"]*"'  # the usual one, for speed
    rb'|\s*{\s*"version"\s*:\s*"[^"]*"\s*,\s*"expires_at"\s*:\s*"?[^",}\s]*"?\s*,\s*"last_activity"\s*:\s*"[^"]*"'
)


def is_laid_out(record: bytes) -> bool:
    """Tells whether the scripts can compare and renew a record, which may be another's work."""
    return _HEAD.match(record) is not None


class Script:
    """A script, and the commands that call it for one or more sessions.

    Args:
        text: Lua.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def by_digest(self, calls: Sequence[Call]) -> Command:
        """Returns the command that calls the script if the server has it."""
        return ("EVALSHA", self._digest, *_flat(calls))

    def by_text(self, calls: Sequence[Call]) -> Command:
        """Returns the command that calls the script and has the server keep it."""
        return ("EVAL", self._text, *_flat(calls))


def _flat(calls: Sequence[Call]) -> list[Argument]:
    keys = [key for keys, _ in calls for key in keys]
    return [len(keys), *keys, *(argument for _, arguments in calls for argument in arguments)]


READ: Final = Script("""
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.pcall('GET', key)
end
return found
""")
"""Reads; unlike MGET it does not take a key that holds no string for an absent one. No arguments."""

_LEASES: Final = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text_of(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'table' then return text end
  if string.find(text.err, 'WRONGTYPE', 1, true) then return '' end
  return redis.call('GET', key)
end

local function load(key, now)
  local text = text_of(key) or ''
  if text ~= '' and not string.find(text, ';', 1, true) then
    local left = redis.call('PTTL', key)
    return {name = text, ends = now + left, held = left > 0}, {}
  end
  local places = {}
  for name, ends in string.gmatch(text, '([^:;]*):(%d+);') do
    places[#places + 1] = {name = name, ends = tonumber(ends)}
  end
  local lease = table.remove(places, 1) or {name = '', ends = 0}
  lease.held = lease.name ~= '' and lease.ends > now
  return lease, places
end

local function save(key, lease, queue, now)
  local text, last = lease.name .. ':' .. string.format('%.0f', lease.ends) .. ';', lease.ends
  for _, place in ipairs(queue) do
    text = text .. place.name .. ':' .. string.format('%.0f', place.ends) .. ';'
    last = math.max(last, place.ends)
  end
  if last > now then
    redis.call('SET', key, #queue > 0 and text or lease.name, 'PX', string.format('%.0f', last - now))
  else
    redis.call('UNLINK', key)
  end
end

local function without(queue, holder, now)
  local others = {}
  for _, place in ipairs(queue) do
    if place.name ~= holder and place.ends > now then others[#others + 1] = place end
  end
  return others
end

local function holds(text, key, holder)
  if text == holder then return true end
  local lease = load(key, now())
  return lease.held and lease.name == holder
end

local function release(key, holder)
  local now = now()
  local lease, queue = load(key, now)
  if lease.name == holder then lease = {name = '', ends = 0} end
  save(key, lease, without(queue, holder, now), now)
end

local function give_up(text, key, holder)
  if text == holder then
    redis.call('UNLINK', key)
  elseif text then
    release(key, holder)
  end
end
"""
"""The lease of a session is a text: the holder, for as long as the key lives; or, where others wait, `holder:until;` and then
for each who waits `holder:until;`, in milliseconds. The holder is empty while nobody holds it. A key that holds no text is no
lease. What a script is told as `text` is what `text_of` has returned for the key.
"""

_RECORDS: Final = """
local header = '^%s*{%s*"version"%s*:%s*"([^"]*)"%s*,%s*"expires_at"%s*:%s*"?([^",}%s]*)'

local function live(stored, today)
  local version, ends = string.match(stored or '', header)
  if version and ends ~= 'null' and ends <= today then return false end
  return stored, version
end
"""
"""What is stored, unless it has expired, and its version, unless it is unreadable."""

LEASE: Final = Script(
    _LEASES
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
"""Takes leases and reads: what is stored, or in how many milliseconds the lease may be free and how many wait longer.

Keys: the session, its lease. Arguments: the holder; for how many milliseconds; within how many it asks again.
"""

RENEW: Final = Script(
    _LEASES
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
"""Holds leases longer: 1, or 0 where the holder has it no more. Key: the lease. Arguments: the holder; milliseconds."""

RELEASE: Final = Script(
    _LEASES
    + """
local outcomes = {}
for i, key in ipairs(KEYS) do
  give_up(text_of(key), key, ARGV[i])
  outcomes[i] = 1
end
return outcomes
"""
)
"""Gives up leases, or places in the queues. Key: the lease. Argument: the holder."""

REPLACE: Final = Script(
    _LEASES
    + _RECORDS
    + """
local outcomes = {}
local activity = '"?%s*,%s*"last_activity"%s*:%s*"([^"]*)"'
for i = 1, #KEYS, 2 do
  local key, lease_key = KEYS[i], KEYS[i + 1]
  local first = (i - 1) / 2 * 7 + 1
  local expected, version, active, today, deadline, holder, record = unpack(ARGV, first, first + 6)
  local stored, found = redis.pcall('GET', key)
  local outcome
  if type(stored) == 'table' then
    outcome = stored
  else
    stored, found = live(stored, today)
    local last = active ~= '' and select(3, string.match(stored or '', header .. activity))
    local lease = holder ~= '' and text_of(lease_key)
    if (version ~= '' and found == version) or stored == record then
      outcome = 1
    elseif (expected == '' and stored) or (expected ~= '' and (found and '=' .. found) ~= expected)
      or (active ~= '' and last ~= active) or (holder ~= '' and not holds(lease, lease_key, holder)) then
      outcome = 0
    else
      if deadline == '' then
        outcome = redis.pcall('SET', key, record)
      else
        outcome = redis.pcall('SET', key, record, 'PXAT', deadline)
      end
      outcome = outcome.err and outcome or 1
    end
    if outcome == 1 then give_up(lease, lease_key, holder) end
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
"""
)
"""Compare-and-set: 1 stored, 0 conflict. It may run twice: a record that is there already has been stored.

Keys: the session, its lease. Arguments: `=` and the expected version, or nothing where the session must be absent, or `NEVER`;
the record's own version, or nothing where the record was stored before under it; the expected last activity as text, or
nothing for any; now as text; the deadline in milliseconds, or nothing for never; who holds the lease and gives it up, or
nothing; the record.
"""

NEVER: Final = "!"
"""In place of an expected version: nothing is stored; what is asked is only whether the record is there already."""

DESTROY: Final = Script(
    _LEASES
    + _RECORDS
    + """
local outcomes = {}
for i = 1, #KEYS, 2 do
  local key, lease_key = KEYS[i], KEYS[i + 1]
  local first = (i - 1) / 2 * 3 + 1
  local expected, today, holder = unpack(ARGV, first, first + 2)
  local stored, found = redis.pcall('GET', key)
  local readable = type(stored) ~= 'table'
  if readable then stored, found = live(stored, today) end
  local lease = holder ~= '' and text_of(lease_key)
  if not readable then
    outcomes[#outcomes + 1] = stored
  elseif (expected ~= '' and (found and '=' .. found) ~= expected)
    or (holder ~= '' and not holds(lease, lease_key, holder)) then
    outcomes[#outcomes + 1] = stored and 0 or 2
  else
    redis.call('UNLINK', key)
    if holder == '' then
      redis.call('UNLINK', lease_key)
    else
      give_up(lease, lease_key, holder)
    end
    outcomes[#outcomes + 1] = 1
  end
end
return outcomes
"""
)
"""Removes: 1 removed or absent as expected, 0 conflict, 2 conflict with there being nothing. What is no string is not ours, and stays.

Keys: the session, its lease. Arguments: `=` and the expected version, or nothing for whatever is there; now as text; who holds
the lease and gives it up, or nothing where the lease ends whoever holds it.
"""

QUARANTINE: Final = Script("""
if redis.call('TYPE', KEYS[2]).ok ~= 'none' then return {1} end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {0} end
if kind == 'string' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PERSIST', KEYS[2])
return {1}
""")
"""Puts aside what is unreadable, if it is still there: 1, or 0. It may run twice, as the new name is of this call only. Keys: the session, the new name. Argument: the bytes read."""

TOUCH: Final = Script("""
local stored = redis.call('GET', KEYS[1])
if not stored then return {0} end
local head, ends, middle, rest = string.match(stored,
  '^(%s*{%s*"version"%s*:%s*"[^"]*"%s*,%s*"expires_at"%s*:%s*)"?([^",}%s]*)"?(%s*,%s*"last_activity"%s*:%s*)"[^"]*"()')
if not head then return {stored} end
if ends ~= 'null' and ends <= ARGV[1] then return {0} end
local record = head .. ARGV[3] .. middle .. '"' .. ARGV[1] .. '"' .. string.sub(stored, rest)
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], record)
else
  redis.call('SET', KEYS[1], record, 'PXAT', ARGV[2])
end
return {1}
""")
"""Renews: 1 renewed, 0 absent, or what is stored where it is no record.

Arguments: now as text; the deadline in milliseconds, or nothing for never; the deadline as JSON.
"""
