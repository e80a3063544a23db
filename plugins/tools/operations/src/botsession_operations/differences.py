"""Differences between two JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

ABSENT: Final = msgspec.UNSET
"""Stands for a missing value in a `Difference`."""

_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True, frozen=True)
class Difference:
    """One place where two values differ.

    Attributes:
        path: The place, such as `$.cart[0].price`. For an item removed from an array, its index in the old array.
        before: The old value, or `ABSENT`.
        after: The new value, or `ABSENT`.
    """

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "$") -> Iterator[Difference]:
    """Compare two JSON values.

    Values are compared by their JSON text, so `1`, `1.0` and `true` are three different values. Insertions into and
    removals from arrays are recognized: an array that lost its first item has one difference.

    Args:
        before: The old value.
        after: The new value.
        path: Prefix for the paths of the differences.

    Yields:
        The differences in the order of the old value, followed by keys that are new in an object.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            place = f"{path}.{key}" if key.isidentifier() else f"{path}[{_encoder.encode(key).decode()}]"
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), place)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_arrays(before, after, path)
    elif ABSENT in (before, after) or _encoder.encode(before) != _encoder.encode(after):
        yield Difference(path, before, after)


def _in_arrays(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    old, new = ([_encoder.encode(item) for item in items] for items in (before, after))
    for tag, start, end, start_after, end_after in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        common = min(end - start, end_after - start_after)
        for offset in range(common):
            place = f"{path}[{start_after + offset}]"
            yield from differences(before[start + offset], after[start_after + offset], place)
        for index in range(start + common, end):
            yield Difference(f"{path}[{index}]", before[index], ABSENT)
        for index in range(start_after + common, end_after):
            yield Difference(f"{path}[{index}]", ABSENT, after[index])
