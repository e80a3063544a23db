"""From a session id to the name of its file, and back.

A name is made of `a-z`, `0-9`, `_`, `-` and `%` with two hexadecimal digits, plus `.json`: nothing in it means something
to a file system, and nothing in it can be folded or normalised into another name. `telegram:42` is `telegram%3a42.json`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

SUFFIX: Final = ".json"

_LONGEST: Final = 128
"""How long an encoded id may be; some encrypting file systems hold no name above 143 bytes."""

_UNSAFE: Final = re.compile(rb"[^a-z0-9_-]")


class Place(NamedTuple):
    """Where a session lies.

    Attributes:
        shard: The subdirectory, two hexadecimal digits.
        name: The file in it.
    """

    shard: str
    name: str


@lru_cache(1024)
def place(session_id: str) -> Place:
    """Returns where the session of an id lies."""
    raw = session_id.encode()
    digest = hashlib.sha256(raw).hexdigest()
    encoded = _UNSAFE.sub(lambda match: b"%%%02x" % ord(match[0]), raw).decode()
    if len(encoded) > _LONGEST:
        encoded = f"{encoded[: _LONGEST // 2]}~{digest}"
    return Place(digest[:2], encoded + SUFFIX)


def session_id(name: str) -> str | None:
    """Returns the id that a file's name tells; `None` where it was too long to be told, or is no name of ours."""
    try:
        told = unquote_to_bytes(name.removesuffix(SUFFIX)).decode()
    except UnicodeDecodeError:
        return None
    return told if place(told).name == name else None
