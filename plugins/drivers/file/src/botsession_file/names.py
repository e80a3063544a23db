"""The name of a session's file, and the session id in it.

A name consists of `a-z`, `0-9`, `_`, `-` and `%` with two hexadecimal digits, plus `.json`. No character in it has a meaning
to a file system, and no file system folds or normalises it into another name. `telegram:42` is `telegram%3a42.json`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

SUFFIX: Final = ".json"

CORRUPT: Final = ".corrupt-"
"""What separates the name that an unreadable file had from the moment when it was quarantined."""

_LONGEST_NAME: Final = 143
"""The bytes of a name that every file system takes; encrypting ones take no more."""

_LONGEST_ID: Final = 128

_UNSAFE: Final = re.compile(rb"[^a-z0-9_-]")
_DRAFT: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")


class Place(NamedTuple):
    """Where a session is.

    Attributes:
        shard: The subdirectory, two hexadecimal digits.
        name: The file in it.
    """

    shard: str
    name: str


@lru_cache(1024)
def place(session_id: str) -> Place:
    """Return where the session with this id belongs."""
    raw = session_id.encode()
    digest = hashlib.sha256(raw).hexdigest()
    encoded = _UNSAFE.sub(lambda match: b"%%%02x" % ord(match[0]), raw).decode()
    if len(encoded) > _LONGEST_ID:
        encoded = f"{encoded[: _LONGEST_ID // 2]}~{digest}"
    return Place(digest[:2], encoded + SUFFIX)


def session_id(name: str) -> str | None:
    """Return the id in the name of a file, or `None` if it was cut or this is no session's name."""
    try:
        decoded = unquote_to_bytes(name.removesuffix(SUFFIX)).decode()
    except UnicodeDecodeError:
        return None
    return decoded if place(decoded).name == name else None


def is_session(name: str) -> bool:
    """Return whether a file has the name of a session."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def is_draft(name: str) -> bool:
    """Return whether a file has the name of a session that is being written; files of other programs do not."""
    return _DRAFT.fullmatch(name) is not None


def quarantined(name: str, suffix: str) -> str:
    """Return the name of a file in quarantine.

    Args:
        name: The name that it had.
        suffix: What makes the new name unique; it begins with `corrupt-`.
    """
    return f"{name[: _LONGEST_NAME - len(suffix) - 1]}.{suffix}"
