"""Listing: keys by SCAN, and only the beginning of each record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from botsession import CorruptSessionError, StoreError
from botsession.storage import Entry, records
from botsession_redis.connection import Connection
from botsession_redis.keys import Keys

_PAGE: Final = 500
_CURSOR: Final = re.compile(r"([0-9]{1,20})@(.*)")
_GLOB: Final = re.compile(rb"[*?\[\]\\^]")
_ID: Final = re.compile(rb',"id":("(?:[^"\\]|\\.)+")')


async def list_page(
    connection: Connection, keys: Keys, prefix: str, after: str | None, limit: int | None
) -> tuple[list[Entry | CorruptSessionError], str | None]:
    """Return the entries of one page, and the cursor of the next page.

    The cursor is that of SCAN and, on a cluster, the name of the node that it belongs to.

    Raises:
        StoreError: `after` is not a cursor, or the cluster has changed so that it no longer is one.
    """
    parsed = _CURSOR.fullmatch("0@" if after is None else after)
    if parsed is None:
        raise StoreError(f"{after!r} is not a cursor of this store", remedy="Pass `next` of the page before.")
    nodes = connection.nodes()
    node = parsed[2] or nodes[0]
    if node not in nodes:
        raise StoreError(f"the cluster has changed since {after!r} was returned", remedy="Start the scan again.")
    pattern = _GLOB.sub(rb"\\\g<0>", keys.session(prefix)) + b"*"
    reply = await connection.ask(node, "SCAN", int(parsed[1]), "MATCH", pattern, "COUNT", limit or _PAGE)
    cursor, found = int(reply[0]), reply[1]
    named = [(each, key) for key in dict.fromkeys(found) if (each := keys.session_id(key)) is not None]
    pairs = [(("GETRANGE", key, 0, records.HEAD_SIZE - 1), ("STRLEN", key)) for _, key in named]
    replies = await connection.send([command for pair in pairs for command in pair]) if pairs else []
    if not cursor:
        node = next(iter(nodes[nodes.index(node) + 1 :]), "")
    following = f"{cursor}@{node}" if cursor or node else None
    return [*_entries(connection, [each for each, _ in named], replies[::2], replies[1::2])], following


def _entries(
    connection: Connection, session_ids: Sequence[str], heads: Sequence[Any], sizes: Sequence[Any]
) -> Iterator[Entry | CorruptSessionError]:
    for session_id, head, size in zip(session_ids, heads, sizes, strict=True):
        refusal = next((reply for reply in (head, size) if isinstance(reply, Exception)), None)
        if refusal is not None:
            error = connection.explain(refusal, session_id)
            if not isinstance(error, CorruptSessionError):
                raise error
            yield error
        elif head and not _is_of_another_store(head, session_id):
            yield Entry(session_id, head, size)


def _is_of_another_store(head: bytes, session_id: str) -> bool:
    """Return whether a record belongs to a store whose key prefix begins with this one's: its id is the end of this id."""
    match = _ID.search(head)
    try:
        stored: object = session_id if match is None else json.loads(match[1])
    except ValueError:
        return False
    return stored != session_id and session_id.endswith(str(stored))
