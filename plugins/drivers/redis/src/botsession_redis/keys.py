"""The keys of a session, of its lease, and of what was quarantined."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from redis.crc import key_slot

MARK: Final = b"\x1f"
"""Separates a session's key from what is added to it: no session id contains a control character."""


class Keys:
    """The keys of one store.

    Args:
        prefix: How they begin.
        is_cluster: Whether the keys of one script must share a hash slot.

    Attributes:
        prefix: How they begin.
    """

    def __init__(self, prefix: str, *, is_cluster: bool) -> None:
        self.prefix: bytes = prefix.encode()
        self._is_cluster = is_cluster

    def session(self, session_id: str) -> bytes:
        """Return the key of a session."""
        return self.prefix + session_id.encode()

    def pair(self, session_id: str) -> tuple[bytes, bytes]:
        """Return the keys of a session and of its lease."""
        key = self.prefix + session_id.encode()
        return key, self.attached(key, b"") if self._is_cluster else key + MARK

    def attached(self, session_key: bytes, name: bytes) -> bytes:
        """Return a key for something that belongs to a session: in the same hash slot, under the same prefix."""
        if not self._is_cluster:
            return session_key + MARK + name
        slot = key_slot(session_key)
        return next(key for key in self._candidates(session_key, name) if key_slot(key) == slot)

    def session_id(self, key: bytes) -> str | None:
        """Return the id of the session that has this key; `None` if the key is that of a lease or of something quarantined."""
        rest = key[len(self.prefix) :]
        return None if MARK in rest else rest.decode(errors="replace")

    def _candidates(self, session_key: bytes, name: bytes) -> Iterator[bytes]:
        yield session_key + MARK + name  # fits if the session's key has a hash tag
        yield self.prefix + MARK + name + b"{" + session_key + b"}"
        for number in count():  # for braces that do not form a hash tag; about one in 16,384 fits
            yield session_key + MARK + name + MARK + str(number).encode()
