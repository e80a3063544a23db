"""The scripts that run inside the server, where reading, deciding and writing are one step.

Each looks only at the beginning of a record (`version`, `expires_at`, `last_activity`), with a pattern that allows for the blanks
that another tool may have inserted. What differs from call to call is an argument, never a part of the script.
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

HEAD: Final = re.compile(
    rb'{"version":"[^"]*","expires_at":"[^",}\s]*","last_activity":"[^"]*"'  # the usual layout, for speed
    rb'|\s*{\s*"version"\s*:\s*"[^"]*"\s*,\s*"expires_at"\s*:\s*"?[^",}\s]*"?\s*,\s*"last_activity"\s*:\s*"[^"]*"'
)
"""The beginning of a record that the scripts can compare and renew; another tool may have written it."""


class Script:
    """A script, and the commands that run it for one or more sessions.

    Args:
        text: Lua.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def by_digest(self, calls: Sequence[Call]) -> Command:
        """Return the command that runs the script if the server knows it."""
        keys: list[Argument] = []
        arguments: list[Argument] = []
        for its_keys, its_arguments in calls:
            keys += its_keys
            arguments += its_arguments
        return ("EVALSHA", self._digest, len(keys), *keys, *arguments)

    def by_text(self, calls: Sequence[Call]) -> Command:
        """Return the command that runs the script and has the server keep it."""
        return ("EVAL", self._text, *self.by_digest(calls)[2:])


LEASES: Final = """
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
"""Functions for leases.

The lease of a session is a text: the holder, for as long as the key lives; or, if others wait, `holder:until;` and then
`holder:until;` for each of them, in milliseconds. The holder is empty while nobody holds the lease. A key that does not hold a text
is not a lease. Functions that take a `text` take what `text_of` returned for the key.
"""

_RECORDS: Final = """
local header = '^%s*{%s*"version"%s*:%s*"([^"]*)"%s*,%s*"expires_at"%s*:%s*"?([^",}%s]*)'

local function live(stored, today)
  local version, ends = string.match(stored or '', header)
  if version and ends ~= 'null' and ends <= today then return false end
  return stored, version
end
"""
"""A function that returns what is stored unless it has expired, and its version unless it is unreadable."""

COMMIT: Final = Script(
    LEASES
    + _RECORDS
    + """
local activity = '"?%s*,%s*"last_activity"%s*:%s*"([^"]*)"'

local function allows(expected, active, stored, found)
  if expected == '*' then return true end
  if expected == '' then return not stored end
  if (found and '=' .. found) ~= expected then return false end
  return active == '' or active == select(3, string.match(stored, header .. activity))
end

local function put(key, record, deadline)
  if record == '' then
    redis.call('UNLINK', key)
    return 1
  end
  local done
  if deadline == '' then
    done = redis.pcall('SET', key, record)
  else
    done = redis.pcall('SET', key, record, 'PXAT', deadline)
  end
  return done.err and done or 1
end

local outcomes = {}
for i = 1, #KEYS, 2 do
  local key, lease_key = KEYS[i], KEYS[i + 1]
  local first = (i - 1) / 2 * 7 + 1
  local expected, active, version, today, deadline, holder, record = unpack(ARGV, first, first + 6)
  local stored, found = redis.pcall('GET', key)
  local outcome
  if type(stored) == 'table' then
    outcome = stored
  else
    stored, found = live(stored, today)
    local lease = holder ~= '' and text_of(lease_key)
    if record ~= '' and (stored == record or (version ~= '' and found == version)) then
      outcome = 1
    elseif not allows(expected, active, stored, found) or (holder ~= '' and not holds(lease, lease_key, holder)) then
      outcome = stored and 0 or 2
    else
      outcome = put(key, record, deadline)
    end
    if outcome == 1 and holder ~= '' then
      give_up(lease, lease_key, holder)
    elseif outcome == 1 and record == '' then
      redis.call('UNLINK', lease_key)
    end
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
"""
)
"""Carries out changes: 1 done, 0 conflict, 2 conflict because nothing is there.

It may run twice: a record that is there already was stored by the first run. A key that holds something other than a string
belongs to another program, and stays.

Keys: the session, its lease. Arguments: what must be there (`*` for anything, nothing for no session, `=` and a version, or
`NEVER`); the last activity that it must have, or nothing for any; the record's own version, or nothing if the record was stored
before under that version; now as text; the deadline in milliseconds, or nothing for never; the holder that gives up the lease, or
nothing without one; the record, or nothing to remove the session. A removal without a holder ends the lease, whoever holds it.
"""

NEVER: Final = "!"
"""Expected by a change that is not carried out: it only finds out whether its record is there already."""

QUARANTINE: Final = Script("""
if redis.call('TYPE', KEYS[2]).ok ~= 'none' then return {1} end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {0} end
if kind == 'string' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PERSIST', KEYS[2])
return {1}
""")
"""Moves an unreadable record to another key, if it is still there: 1, or 0. It may run twice, as the new key is of this call only.

Keys: the session, the new key. Argument: the bytes that were read.
"""

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
"""Moves a deadline: 1 done, 0 absent, or what is stored if it is not a record.

Key: the session. Arguments: now as text; the deadline in milliseconds, or nothing for never; the deadline as JSON.
"""
