"""Many replacements as few statements."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from botsession_sqlite.rows import Row

MOST_CHARACTERS: Final = 2**25
"""How much one statement carries, unless a single session is larger."""


def batches(entries: Sequence[Row]) -> Iterator[range]:
    """Cuts entries into ranges, each for one statement.

    An id that comes again begins a new range, since one statement compares with what was there before it.
    """
    begin = 0
    characters = 0
    ids: set[str] = set()
    for index, entry in enumerate(entries):
        characters += len(entry["record"])
        if index > begin and (entry["id"] in ids or characters > MOST_CHARACTERS):
            yield range(begin, index)
            begin, characters, ids = index, len(entry["record"]), set()
        ids.add(entry["id"])
    if entries:
        yield range(begin, len(entries))


def as_parameter(values: Sequence[object]) -> str:
    """Returns values as the one parameter of a statement that reads them with `json_each`."""
    return json.dumps(values, separators=(",", ":"))
