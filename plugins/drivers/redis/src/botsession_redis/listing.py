"""Listing: keys by SCAN, and of each record only its beginning."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from botsession import (
    CorruptSessionError,
    Lifetime,
    ScanPage,
    SessionInfo,
    StoreError,
)
from botsession.storage import records
from botsession_redis.link import Link

HEADER_BYTES: Final = 1280
"""More than a header can have: 166 bytes, and an id of 512 bytes of which each may need a backslash."""

_PAGE: Final = 500
_CURSOR: Final = re.compile(r"([0-9]{1,20})@(.*)")
_GLOB: Final = re.compile(r"[*?\[\]\\^]")
_ID: Final = re.compile(rb',"id":("(?:[^"\\]|\\.)+")')


class Listing:
    """Lists the sessions of one store."""

    def __init__(
        self, link: Link, lifetime: Lifetime, key_prefix: str, store: str, is_of_a_session: Callable[[bytes], bool]
    ) -> None:
        self._link = link
        self._lifetime = lifetime
        self._key_prefix = key_prefix
        self._store = store
        self._is_of_a_session = is_of_a_session

    async def page(self, prefix: str, after: str | None, limit: int | None) -> ScanPage:
        """Lists one page of sessions.

        A key whose record names another id belongs to another store, whose key prefix begins with this one's, and is
        left out.

        Raises:
            StoreError: `after` is no cursor, or the cluster has changed so that it is none any more.
        """
        parsed = _CURSOR.fullmatch("0@" if after is None else after)
        if parsed is None:
            raise StoreError(f"{after!r} is no cursor of {self._store}; give `next` of the page before")
        pattern = _GLOB.sub(r"\\\g<0>", self._key_prefix + prefix) + "*"
        step = await self._link.scan(int(parsed[1]), parsed[2], "MATCH", pattern.encode(), "COUNT", limit or _PAGE)
        if step is None:
            raise StoreError(f"the cluster has changed since {after!r} was given; begin the scan again")
        found, cursor, node = step
        keys = [key for key in dict.fromkeys(found) if self._is_of_a_session(key)]
        commands = ((("GETRANGE", key, 0, HEADER_BYTES - 1), ("STRLEN", key)) for key in keys)
        replies = await self._link.send_all([command for pair in commands for command in pair])
        outcomes = (self._outcome(*each) for each in zip(keys, replies[::2], replies[1::2], strict=True))
        return ScanPage.of(outcomes, f"{cursor}@{node}" if cursor or node else None)

    def _outcome(self, key: bytes, header: Any, size: Any) -> SessionInfo | CorruptSessionError | None:
        if header == b"":
            return None
        session_id = key.decode(errors="replace").removeprefix(self._key_prefix)
        refusal = next((reply for reply in (header, size) if isinstance(reply, Exception)), None)
        if refusal is not None:
            error = self._link.explain(refusal, session_id)
            if isinstance(error, CorruptSessionError):
                return error
            raise error
        try:
            info = records.decode_info(header, session_id, store=self._store, size=size)
        except CorruptSessionError as error:
            return None if _another_stores(header, session_id) else error
        return None if self._lifetime.expired(info.expires_at) else info


def _another_stores(header: Any, session_id: str) -> bool:
    """Tells whether a record names the end of this id: then the key prefix that it was stored under is a longer one."""
    match = _ID.search(header) if isinstance(header, bytes) else None
    try:
        return match is not None and session_id.endswith(json.loads(match[1]))
    except ValueError:
        return False
