"""Fields of a stored state that this bot's `state_type` does not know, because a newer version of the bot has written them.

They survive the turns of this version. A field stays in the object at the same path. In an array, an element that this bot has
not changed keeps its unknown fields wherever it is moved. A changed element keeps them if it stayed at its index and no element
was removed from the array.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def carry(stored: Any, known: Any, now: Any) -> Any:
    """Return a JSON value with the unknown fields that were stored in it.

    Args:
        stored: What was stored.
        known: The part of it that the type knows.
        now: What the bot has made of that part.
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
        if len(stored) > len(known) == len(now):  # a struct that is stored as an array, with more fields at its end
            return [*map(carry, stored, known, now), *stored[len(known) :]]
    return now


def _fits(stored: Any, known: Any) -> bool:
    """Return whether `known` is the known part of `stored`; the members of a set are in any order."""
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
