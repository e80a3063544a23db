"""Where a session lies, and beside it its lease and what was put aside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from redis.crc import key_slot

from botsession.ids import check_session_id

MARK: Final = b"\x1f"
"""Begins what is added to the key of a session: no session id holds a control character."""


class Keys:
    """The keys of one store.

    Args:
        prefix: How they begin.
        is_cluster: Whether the keys that one script names must have one hash slot.
    """

    def __init__(self, prefix: str, is_cluster: bool) -> None:
        self._prefix = prefix.encode()
        self._is_cluster = is_cluster

    def session(self, session_id: str) -> bytes:
        """Returns the key of a session.

        Raises:
            InvalidSessionIdError: It is no session id.
        """
        check_session_id(session_id)
        return self._prefix + session_id.encode()

    def both(self, session_id: str) -> tuple[bytes, bytes]:
        """Returns the keys of a session and of its lease."""
        key = self.session(session_id)
        return key, self.beside(key, b"") if self._is_cluster else key + MARK

    def beside(self, session_key: bytes, name: bytes) -> bytes:
        """Returns a key for what belongs to a session: in its slot, and under the store's prefix."""
        if not self._is_cluster:
            return session_key + MARK + name
        slot = key_slot(session_key)
        return next(key for key in self._candidates(session_key, name) if key_slot(key) == slot)

    def _candidates(self, session_key: bytes, name: bytes) -> Iterator[bytes]:
        yield session_key + MARK + name  # where the session's key has a hash tag
        yield self._prefix + MARK + name + b"{" + session_key + b"}"
        for number in count():  # where it holds braces that are none; about one in 16,384 fits
            yield session_key + MARK + name + MARK + str(number).encode()

    def is_of_a_session(self, key: bytes) -> bool:
        """Tells a session's key from those that lie beside it."""
        return MARK not in key[len(self._prefix) :]
