"""The document of one session, and the way back.

    {_id: "telegram:42", botsession: "session", version: "9f86d081884c7d65", previous: "2c26b46b68ffc68f",
     expires_at: ISODate(...), last_activity: ISODate(...), created_at: ISODate(...), user: null, state: {count: 3}}

`botsession` marks every document that this driver has written. What lacks it is another program's: no command of ours changes,
replaces, removes or expires that, and reading it is a `CorruptSessionError`.

`expires_at` is the last moment of the year 9999 where a session never ends: one comparison tells what is alive, and no `$or` leads
a server from the index of ids to that of deadlines.

`previous` is the version in whose place this one was stored, where it is known: a writer whose own version has been
replaced meanwhile finds it there.

A state is a document, so that people can query `state.count`. A state that no BSON document can hold faithfully (a key
with a NUL or one that begins with `$`) is kept as JSON text under the same name.
The module `leases` tells of the field `lease`, which is there while somebody holds the session's lease.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import bson
import msgspec
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from botsession import (
    CorruptSessionError,
    Session,
    SessionInfo,
    SessionTooLargeError,
    StoredSession,
)
from botsession.states import json_values
from botsession.storage import records

MAX_BYTES: Final = 16 * 1024 * 1024 - 16 * 1024
"""The largest document that MongoDB takes, less room for a lease and those who wait for it."""

NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
"""The deadline of a session that never ends."""

MARK: Final = {"botsession": "session"}
"""What every document of ours has, and no other; a number would equal `True` on some servers."""

ENVELOPE: Final = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)
"""How the client hands documents over: as their bytes, and with an `_id` that can be read whatever is wrong inside."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Header(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    version: Annotated[str, msgspec.Meta(min_length=1)]
    expires_at: _Moment
    last_activity: _Moment
    created_at: _Moment


class _Listed(_Header):
    size: int


class _Document(_Header):
    user: dict[str, Any] | str | None
    state: dict[str, Any] | str
    expires_in: Annotated[float, records.LENGTH] | msgspec.UnsetType | None = msgspec.UNSET
    shape: int = 0


_HeaderT = TypeVar("_HeaderT", bound=_Header)


class _PlainInteger(TypeDecoder):
    bson_type = Int64

    def transform_bson(self, value: int) -> int:
        return int(value)


_options: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry([_PlainInteger()])
)
_objects = msgspec.json.Decoder(dict[str, Any])


def encode(session: StoredSession, previous: str | None = None) -> RawBSONDocument:
    """Returns the session's document, encoded: what is changed afterwards is not stored.

    Args:
        session: The session.
        previous: The version in whose place it is stored, where it is known.

    Raises:
        StateError: The state or the user holds what JSON cannot hold.
        SessionTooLargeError: The document is larger than MongoDB takes.
    """
    json_values.check_user(session.user)
    document: dict[str, object] = {
        "_id": session.id,
        **MARK,
        "version": session.version,
        **({} if previous is None else {"previous": previous}),
        "expires_at": deadline(session.expires_at),
        "last_activity": session.last_activity,
        "created_at": session.created_at,
        "user": _to_bson(session.user, "$.user"),
        "state": _to_bson(json_values.to_json(session.state), "$.state"),
    }
    if session.expires_in is not msgspec.UNSET:
        document["expires_in"] = session.expires_in
    if session.shape:
        document["shape"] = session.shape
    encoded = bson.encode(document)
    if len(encoded) > MAX_BYTES:
        raise SessionTooLargeError(
            f"session {session.id!r} has {len(encoded):,} bytes; MongoDB takes {MAX_BYTES:,}; keep less in its state"
        )
    return RawBSONDocument(encoded)


def deadline(expires_at: datetime | None) -> datetime:
    """Return how a deadline is stored."""
    return NEVER if expires_at is None else expires_at


def _end(found: _Header) -> datetime | None:
    return None if found.expires_at >= NEVER else found.expires_at


def is_ours(document: RawBSONDocument) -> bool:
    """Return whether this driver wrote the document."""
    return bool(document.get("botsession") == MARK["botsession"])


def foreign(document: RawBSONDocument, session_id: str, *, store: str) -> CorruptSessionError:
    """Return the error that a document of another program lies under the id of a session."""
    reason = "botsession did not write it and leaves it alone, so move it elsewhere or choose another collection_name"
    return CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=reason)


def decode(document: RawBSONDocument, session_id: str, *, store: str) -> StoredSession:
    """Returns the session of a document.

    Args:
        document: What is stored.
        session_id: The id under which it was asked for.
        store: A description of the store, without secrets, for the error.

    Raises:
        CorruptSessionError: It is no session, or another session than this one.
    """
    found = _convert(document, session_id, _Document, store)
    try:
        user = None if found.user is None else _from_bson(found.user, "$.user")
        state = _from_bson(found.state, "$.state")
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=str(error)) from error
    return Session(
        found.id,
        state,
        user,
        found.created_at,
        found.last_activity,
        _end(found),
        found.expires_in,
        found.version,
        found.shape,
    )


def decode_info(document: RawBSONDocument, *, store: str) -> SessionInfo:
    """Returns what a scan tells of the session in a document without its body.

    Args:
        document: What is stored, at least the header, and its `size`.
        store: A description of the store, without secrets, for the error.

    Raises:
        CorruptSessionError: It is no session.
    """
    found = _convert(document, str(document["_id"]), _Listed, store)
    return SessionInfo(found.id, found.created_at, found.last_activity, _end(found), found.version, found.size)


def _convert(document: RawBSONDocument, session_id: str, kind: type[_HeaderT], store: str) -> _HeaderT:
    if not is_ours(document):
        raise foreign(document, session_id, store=store)
    try:
        found = msgspec.convert(bson.decode(document.raw, _options), kind)
    except (BSONError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=str(error)) from error
    if found.id != session_id:
        reason = f"it is session {found.id!r}; has the collection a collation?"
        raise CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=reason)
    return found


def _to_bson(value: dict[str, Any] | None, path: str) -> dict[str, Any] | str | None:
    text = json_values.encode(value, path)
    suspicious = b'"$' in text or b"\\u0000" in text
    return text.decode() if suspicious and not _has_plain_keys(value) else value


def _has_plain_keys(value: object) -> bool:
    if isinstance(value, dict):
        return all(not key.startswith("$") and "\0" not in key and _has_plain_keys(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(_has_plain_keys, value))


def _from_bson(value: dict[str, Any] | str, path: str) -> dict[str, Any]:
    if isinstance(value, str):
        return _objects.decode(value)
    json_values.encode(value, path)
    return value
