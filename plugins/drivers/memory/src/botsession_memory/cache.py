"""A cache of the texts of sessions that drops the least recently used."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from cachetools import Cache, LRUCache

if TYPE_CHECKING:
    from botsession import Lifetime

_logger = logging.getLogger("botsession.memory")

_Kept = tuple[bytes, datetime | None]
"""The text of a session, and its deadline."""


class RecordCache(LRUCache[str, _Kept]):
    """The texts of sessions by id.

    Args:
        max_size: How many to keep.
        lifetime: Decides what has expired.

    Attributes:
        evictions: How many were dropped for lack of room before they expired.
    """

    def __init__(self, max_size: int, lifetime: Lifetime) -> None:
        super().__init__(max_size)
        self.evictions: int = 0
        self._lifetime = lifetime

    def find(self, session_id: str) -> bytes | None:
        """Return a text and make it the most recently used; `None` if it is absent or expired."""
        try:
            record, expires_at = self[session_id]
        except KeyError:
            return None
        if self._lifetime.expired(expires_at):
            del self[session_id]
            return None
        return record

    def peek(self, session_id: str) -> bytes | None:
        """Return a text without making it the most recently used; `None` if it is absent."""
        return Cache.__getitem__(self, session_id)[0] if session_id in self else None

    def put(self, session_id: str, record: bytes, expires_at: datetime | None) -> None:
        """Store a text; if its deadline has passed, remove what is there."""
        if self._lifetime.expired(expires_at):
            self.pop(session_id, None)
        else:
            self[session_id] = record, expires_at

    def purge(self) -> int:
        """Remove what has expired; return how many there were."""
        now = self._lifetime.now()
        expired = [each for each in self if self._lifetime.expired(Cache.__getitem__(self, each)[1], now)]
        for session_id in expired:
            del self[session_id]
        return len(expired)

    def popitem(self) -> tuple[str, _Kept]:
        session_id, kept = super().popitem()
        if not self._lifetime.expired(kept[1]):
            if not self.evictions:
                _logger.warning(
                    "more than max_size=%d sessions: the least recently used are dropped before they expire",
                    self.maxsize,
                )
            self.evictions += 1
        return session_id, kept
