"""Listing sessions in the order of their ids, page by page, without their bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botsession import CorruptSessionError, Lifetime, ScanPage, SessionInfo
from botsession.storage import check_page_size
from botsession_mongo import documents

if TYPE_CHECKING:
    from bson.raw_bson import RawBSONDocument

    from botsession_mongo.connection import Collection, Connection

PAGE: Final = 5000
"""How many sessions a page holds by default."""

_HEADER: Final = {
    **dict.fromkeys(
        (*documents.MARK, "version", "expires_at", "last_activity", "created_at", "placeholder", "lease"), 1
    ),
    "size": {"$bsonSize": "$$ROOT"},
}
_LAST: Final = chr(0x10FFFF)


class _Listed(documents.Header):
    size: int


async def scan(
    connection: Connection,
    collection: Collection,
    lifetime: Lifetime,
    prefix: str,
    *,
    after: str | None,
    limit: int | None,
    store: str,
) -> ScanPage:
    """Return one page; see `SupportsScan.scan`."""
    check_page_size(limit)
    size = limit or PAGE
    cursor = collection.find(_between(prefix, after), _HEADER).sort("_id", 1).limit(size)
    found = await connection.run(cursor.to_list, None)
    now = lifetime.now()

    def info(document: RawBSONDocument) -> SessionInfo | CorruptSessionError | None:
        if documents.is_placeholder(document):
            return None
        try:
            header = documents.convert(document, str(document["_id"]), _Listed, store)
        except CorruptSessionError as error:
            return error
        if not header.id.startswith(prefix) or lifetime.expired(header.deadline, now):
            return None
        return SessionInfo(
            header.id, header.created_at, header.last_activity, header.deadline, header.version, header.size
        )

    return ScanPage.of(map(info, found), str(found[-1]["_id"]) if len(found) == size else None)


def _between(prefix: str, after: str | None) -> dict[str, Any]:
    """Return the condition that an id begins with `prefix` and comes after `after`."""
    bounds = {"$gte": prefix}
    if after is not None:
        bounds["$gt"] = after
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != _LAST:
            following = ord(prefix[index]) + 1
            bounds["$lt"] = prefix[:index] + chr(0xE000 if following == 0xD800 else following)
            break
    return {"_id": bounds}
