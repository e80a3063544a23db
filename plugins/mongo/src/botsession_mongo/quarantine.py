"""Putting aside what is unreadable, in a collection beside that of the sessions."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import bson
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError

from botsession import CorruptSessionError
from botsession_mongo.holding import ATTEMPTS, changed_too_often
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import StoredSession
    from botsession_mongo.connection import Connection

    Collection = AsyncCollection[RawBSONDocument]

SUFFIX: Final = "_quarantine"

_COMPARED: Final = ("version", "expires_at", "last_activity", "created_at")


async def quarantine(
    connection: Connection,
    collection: Collection,
    session_id: str,
    read: Callable[[RawBSONDocument | None, str], StoredSession | None],
) -> str | None:
    """Copies an unreadable document and removes it then, so that a crash leaves both and never none.

    Args:
        connection: The store's.
        collection: The sessions.
        session_id: Where to look.
        read: Returns the session of a document, or raises `CorruptSessionError`.

    Returns:
        Where the copy lies; `None` where nothing unreadable is.
    """
    aside = collection.database.get_collection(
        f"{collection.name}{SUFFIX}", codec_options=collection.codec_options, write_concern=collection.write_concern
    )
    for _ in range(ATTEMPTS):
        document = await connection.run(collection.find_one({"_id": session_id}))
        try:
            read(document, session_id)
        except CorruptSessionError:
            key = ObjectId()
            copy = {"_id": key, "session_id": session_id, "at": datetime.now(UTC), "document": document}
            await connection.run(aside.insert_one(RawBSONDocument(bson.encode(copy))))
            if document is not None and await _remove(connection, collection, session_id, document):
                return f"document ObjectId('{key}') of the collection {aside.name}"
            await connection.run(aside.delete_one({"_id": key}))
        else:
            return None
    raise changed_too_often(session_id)


async def _remove(connection: Connection, collection: Collection, session_id: str, document: RawBSONDocument) -> bool:
    """Removes a document, but for its lease; returns whether it was still what had been found."""
    found = Found(session_id, document)
    condition = found.condition()
    for field in _COMPARED:
        value = document.get(field)
        if isinstance(value, str | DatetimeMS) or field not in document:
            condition[field] = value
    removal: Awaitable[RawBSONDocument | None]
    if found.is_over():
        removal = collection.find_one_and_delete(condition)
    else:
        removal = collection.find_one_and_replace(condition, found.placeholder())
    removed = await connection.run(removal)
    if removed is None or removed.raw == document.raw:
        return removed is not None
    # Somebody has repaired it by hand at the last moment, and gave it no new version.
    with contextlib.suppress(DuplicateKeyError):
        empty = {"_id": session_id, "version": None, "state": None}
        await connection.run(collection.replace_one(empty, removed, upsert=True))
    return False
