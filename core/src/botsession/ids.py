"""What may be a session id: one rule for every driver."""

from __future__ import annotations

import unicodedata
from typing import Final

from botsession.errors import InvalidSessionIdError

MAX_BYTES: Final = 512
"""How long a session id may be, in UTF-8."""


def check_session_id(session_id: str) -> None:
    """Refuses what is no session id.

    An id is a non-empty `str` of at most 512 bytes of UTF-8 without control characters, usually `platform:key`.
    Everything else is allowed, `/` and `..` included: no driver makes a path, a pattern or a script of it.

    Args:
        session_id: The id to check.

    Raises:
        InvalidSessionIdError: It is no session id; the message says why.
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
        raise InvalidSessionIdError(f"session id {session_id!r} holds a lone surrogate, which is no text") from error
    if size > MAX_BYTES:
        raise InvalidSessionIdError(
            f"session id {session_id[:24]!r}... has {size} bytes of UTF-8; at most {MAX_BYTES} are allowed"
        )
    for character in session_id:
        if unicodedata.category(character) == "Cc":
            raise InvalidSessionIdError(f"session id {session_id!r} holds the control character {character!r}")
