"""The scripts that run inside the server, where reading, deciding and writing are one step.

Each looks only at the beginning of a record (`version`, `expires_at`, `last_activity`), by a pattern that also takes the
blanks which a tool may have put in. What differs from call to call is an argument, never a part of the script.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

Argument = bytes | str | int
Call = tuple[Argument, ...]
"""The key of one session, then the script's arguments for it."""


class Script:
    """A script, and the commands that call it for one or more sessions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def by_digest(self, calls: Sequence[Call]) -> Call:
        """Returns the command that calls the script if the server has it."""
        return ("EVALSHA", self._digest, *_flat(calls))

    def by_text(self, calls: Sequence[Call]) -> Call:
        """Returns the command that calls the script and has the server keep it."""
        return ("EVAL", self._text, *_flat(calls))


def _flat(calls: Sequence[Call]) -> list[Argument]:
    keys = [call[0] for call in calls]
    return [len(keys), *keys, *(argument for call in calls for argument in call[1:])]


READ: Final = Script("""
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.pcall('GET', key)
end
return found
""")
"""Reads; unlike MGET it does not take a key that holds no string for an absent one. No arguments."""

REPLACE: Final = Script("""
local outcomes = {}
local header = '^%s*{%s*"version"%s*:%s*"([^"]*)"%s*,%s*"expires_at"%s*:%s*"?([^",}%s]*)'
local activity = '"?%s*,%s*"last_activity"%s*:%s*"([^"]*)"'
for i, key in ipairs(KEYS) do
  local expected, version, active, now, deadline, record = unpack(ARGV, 6 * i - 5, 6 * i)
  local stored = redis.pcall('GET', key)
  local outcome
  if type(stored) == 'table' then
    outcome = stored
  else
    local found, ends = string.match(stored or '', header)
    if stored and found and ends ~= 'null' and ends <= now then
      stored, found = false, nil
    end
    local _, _, last = string.match(stored or '', header .. activity)
    if (version ~= '' and found == version) or stored == record then
      outcome = 1
    elseif (expected == '' and stored) or (expected ~= '' and (found and '=' .. found) ~= expected)
      or (active ~= '' and last ~= active) then
      outcome = 0
    else
      if deadline == '' then
        outcome = redis.pcall('SET', key, record)
      else
        outcome = redis.pcall('SET', key, record, 'PXAT', deadline)
      end
      outcome = outcome.err and outcome or 1
    end
  end
  outcomes[i] = outcome
end
return outcomes
""")
"""Compare-and-set: 1 stored, 0 conflict. It may run twice: a record that is there already has been stored.

Arguments: `=` and the expected version, or nothing where the session must be absent; the record's own version, or nothing
where the record was stored before under it; the expected last activity as text, or nothing for any; now as text; the
deadline in milliseconds, or nothing for never; the record.
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
"""Renews: 1 renewed, 0 absent, or what is stored where it is no record.

Arguments: now as text; the deadline in milliseconds, or nothing for never; the deadline as JSON.
"""
