"""What a session id may be: one rule for every driver."""

from __future__ import annotations

import unicodedata
from typing import Final

from botsession.errors import InvalidSessionIdError

MAX_BYTES: Final = 512
"""The largest length of a session id, in bytes of UTF-8."""


def check_session_id(session_id: str) -> None:
    """Refuse a value that is not a session id.

    An id is a non-empty `str` of at most 512 bytes of UTF-8 without control characters, usually `platform:key`. Everything else is
    allowed, including `/` and `..`, because no driver uses an id as a path, a pattern or part of a script.

    Args:
        session_id: The id to check.

    Raises:
        InvalidSessionIdError: It is not a session id; the message says why.
    """
    if (
        type(session_id) is str
        and session_id.isascii()
        and session_id.isprintable()
        and 0 < len(session_id) <= MAX_BYTES
    ):
        return
    if not isinstance(session_id, str):
        raise InvalidSessionIdError(f"a session id is a str such as 'telegram:42', not {type(session_id).__name__}")
    if not session_id:
        raise InvalidSessionIdError("a session id must not be empty; it looks like 'telegram:42'")
    try:
        size = len(session_id.encode())
    except UnicodeEncodeError as error:
        raise InvalidSessionIdError(
            f"session id {session_id!r} contains a lone surrogate, which is not a character"
        ) from error
    if size > MAX_BYTES:
        raise InvalidSessionIdError(
            f"session id {session_id[:24]!r}... has {size} bytes of UTF-8, and at most {MAX_BYTES} are allowed"
        )
    for character in session_id:
        if unicodedata.category(character) == "Cc":
            raise InvalidSessionIdError(f"session id {session_id!r} contains the control character {character!r}")
