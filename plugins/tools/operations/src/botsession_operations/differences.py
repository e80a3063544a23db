"""In what two JSON values differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

ABSENT: Final = msgspec.UNSET
"""Stands for what is not there, in a `Difference`."""

_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True, frozen=True)
class Difference:
    """One place at which two values differ.

    Attributes:
        path: Where, such as `$.cart[0].price`; in an array the place in the old one where something went.
        before: The old value; `ABSENT` where there was none.
        after: The new value; `ABSENT` where there is none.
    """

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "$") -> Iterator[Difference]:
    """Compares two JSON values, place by place.

    Numbers differ as they do in JSON: `1` is not `1.0`, and neither is `true`. In arrays it finds what came and went, so
    that an array which lost its first item does not differ in all of them.

    Args:
        before: The old value.
        after: The new value.
        path: Where the values stand, for the paths of the differences.

    Yields:
        The differences, in the order of the old value, and what is new in an object after that.
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
