"""Quarantine of unreadable documents, in a collection of its own."""

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
from botsession_mongo import documents
from botsession_mongo.found_lease import FoundLease

if TYPE_CHECKING:
    from botsession_mongo.connection import Collection, Connection
    from botsession_mongo.found_lease import Read

SUFFIX: Final = "_quarantine"

_COMPARED: Final = ("version", "expires_at", "last_activity", "created_at")


async def quarantine(connection: Connection, collection: Collection, session_id: str, read: Read) -> str | None:
    """Copy an unreadable document and then remove it, so that a crash leaves both and never none.

    Args:
        connection: The store's.
        collection: The sessions.
        session_id: Where to look.
        read: Returns the session of a document, or raises `CorruptSessionError`.

    Returns:
        Where the copy is; `None` if there is nothing unreadable.

    Raises:
        CorruptSessionError: The document belongs to another program, and stays.
    """
    copies = collection.database.get_collection(
        f"{collection.name}{SUFFIX}", codec_options=collection.codec_options, write_concern=collection.write_concern
    )
    attempts = connection.attempts()
    while True:
        document = await connection.run(collection.find_one, {"_id": session_id})
        try:
            read(document, session_id)
        except CorruptSessionError:
            if document is None or not documents.is_ours(document):
                raise
        else:
            return None
        key = ObjectId()
        copy = {"_id": key, "session_id": session_id, "at": datetime.now(UTC), "document": document}
        await connection.run(copies.insert_one, RawBSONDocument(bson.encode(copy)))
        if await _remove(connection, collection, session_id, document):
            return f"document ObjectId('{key}') of the collection {copies.name}"
        await connection.run(copies.delete_one, {"_id": key})
        await attempts.pause()


async def _remove(connection: Connection, collection: Collection, session_id: str, document: RawBSONDocument) -> bool:
    """Remove a document, but for its lease; return whether it was still what had been found."""
    found = FoundLease(session_id, document, await connection.clock.now(), is_absent=False)
    condition = found.condition()
    for field in _COMPARED:
        value = document.get(field)
        if value is None or isinstance(value, str | DatetimeMS):
            condition[field] = value
    if found.is_over():
        removed = await connection.run(collection.find_one_and_delete, condition)
    else:
        removed = await connection.run(collection.find_one_and_replace, condition, found.placeholder())
    if removed is None or removed.raw == document.raw:
        return removed is not None
    # Somebody has repaired it by hand at the last moment, and gave it no new version.
    with contextlib.suppress(DuplicateKeyError):
        again = {**documents.ours(session_id), "placeholder": True}
        await connection.run(collection.replace_one, again, removed, upsert=True)
    return False
