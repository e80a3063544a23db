"""Putting aside what is unreadable, in a collection beside that of the sessions."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError

from botsession import CorruptSessionError
from botsession_mongo import conditions, documents
from botsession_mongo.leases import Found

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.asynchronous.collection import AsyncCollection

    from botsession import StoredSession
    from botsession_mongo.connection import Connection

    Collection = AsyncCollection[RawBSONDocument]

SUFFIX: Final = "_quarantine"


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

    Raises:
        CorruptSessionError: The document is another program's, and stays.
    """
    aside = collection.database.get_collection(
        f"{collection.name}{SUFFIX}", codec_options=collection.codec_options, write_concern=collection.write_concern
    )
    attempts = connection.attempts()
    while True:
        document = await connection.run(collection.find_one, {"_id": session_id})
        try:
            read(document, session_id)
        except CorruptSessionError:
            if document is not None and not documents.is_ours(document):
                raise
            key = ObjectId()
            copy = {"_id": key, "session_id": session_id, "at": datetime.now(UTC), "document": document}
            await connection.run(aside.insert_one, RawBSONDocument(bson.encode(copy)))
            if document is not None and await _remove(connection, collection, session_id, document):
                return f"document ObjectId('{key}') of the collection {aside.name}"
            await connection.run(aside.delete_one, {"_id": key})
        else:
            return None
        await attempts.pause()


async def _remove(connection: Connection, collection: Collection, session_id: str, document: RawBSONDocument) -> bool:
    """Removes a document, but for its lease; returns whether it was still what had been found."""
    found = Found(session_id, document, await connection.clock.now())
    condition = found.condition_of_all()
    if found.is_over():
        removed = await connection.run(collection.find_one_and_delete, condition)
    else:
        removed = await connection.run(collection.find_one_and_replace, condition, found.placeholder())
    if removed is None or removed.raw == document.raw:
        return removed is not None
    # Somebody has repaired it by hand at the last moment, and gave it no new version.
    with contextlib.suppress(DuplicateKeyError):
        await connection.run(collection.replace_one, conditions.placeholder(session_id), removed, upsert=True)
    return False
