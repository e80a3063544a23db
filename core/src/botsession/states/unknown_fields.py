"""Fields of a stored state that this bot's `state_type` does not know: a newer version of the bot has written them.

They survive the turns of this one. What belongs where is told by the place: a field stays in the object that is at the same
place as before, by the names and keys that lead there. In an array, an element that this bot has not changed takes them
along wherever it goes; one that it has changed keeps them where no array element was removed and it stands where it stood.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def carry(stored: Any, known: Any, now: Any) -> Any:
    """Returns a JSON value with the fields that were stored and not known.

    Args:
        stored: What was stored.
        known: The same as far as the type knows it.
        now: What it has become.
    """
    if type(stored) is dict and type(known) is dict and type(now) is dict:
        carried = {
            key: carry(stored[key], known[key], item) if key in known and key in stored else item
            for key, item in now.items()
        }
        carried |= {key: item for key, item in stored.items() if key not in known and key not in now}
        return carried
    if type(stored) is list and type(known) is list and type(now) is list:
        if len(stored) == len(known):
            return _carry_elements(stored, known, now) if _fits(stored, known) else now
        if len(stored) > len(known) == len(now):  # a struct that is stored as an array, with fields at its end
            return [*map(carry, stored, known, now), *stored[len(known) :]]
    return now


def _fits(stored: Any, known: Any) -> bool:
    """Tells whether the one is what is known of the other; the members of a set come in any order."""
    if type(stored) is dict and type(known) is dict:
        return all(_fits(stored[key], item) for key, item in known.items() if key in stored)
    if type(stored) is list and type(known) is list:
        return all(map(_fits, stored, known))
    return type(stored) is not type(known) or stored == known


def _carry_elements(stored: list[Any], known: list[Any], now: list[Any]) -> list[Any]:
    texts = [_encode(item) for item in now]
    places: dict[bytes, list[int]] = {}
    for index, item in enumerate(known):
        places.setdefault(_encode(item), []).append(index)
    carried, changed = list(now), []
    taken: set[int] = set()
    for index, text in enumerate(texts):
        if found := places.get(text):
            taken.add(place := found.pop(0))
            carried[index] = stored[place]
        else:
            changed.append(index)
    if len(now) >= len(known):
        for index in changed:
            if index < len(known) and index not in taken:
                carried[index] = carry(stored[index], known[index], now[index])
    return carried
