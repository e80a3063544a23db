"""The document of one session, and the way back.

    {_id: "telegram:42", botsession: "session", version: "9f86d081884c7d65", previous: "2c26b46b68ffc68f",
     expires_at: ISODate(...), last_activity: ISODate(...), created_at: ISODate(...), user: null, state: {count: 3}}

`botsession` marks every document that this driver has written. A document without it belongs to another program: no command
of ours changes, replaces, removes or expires it, and reading it is a `CorruptSessionError`.

`expires_at` is the last moment of the year 9999 if the session never ends, so that one comparison finds what is alive.
`previous` is the version that this one replaced, where it is known: a writer whose version has been replaced in the meantime
finds it there.

A state is a document, so that people can query `state.count`. A state that no BSON document can hold faithfully (a key
with a NUL, or one that begins with `$`) is kept as JSON text under the same name.

A session is stored by setting these fields and no others. So it leaves alone what the module `leases` keeps in the same document:
`lease`, `queue`, and `placeholder`, which marks a document that carries them without a session.
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
    SessionTooLargeError,
    StoredSession,
)
from botsession.states import json_values
from botsession.storage import records

MAX_BYTES: Final = 16 * 1024 * 1024 - 16 * 1024
"""The largest document that MongoDB takes, less room for the id, a lease and its queue."""

NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
"""The deadline of a session that never ends."""

MARK: Final = {"botsession": "session"}
"""A field that every document of ours has, and no other. A number would equal `True` on some servers."""

NOTHING: Final = {"$pull": {"_": 0}}
"""Part of an update that changes nothing, as no document has that field. Without it NX-27017 would store dates as text."""

FIELDS: Final = (
    "version",
    "previous",
    "expires_at",
    "last_activity",
    "created_at",
    "user",
    "state",
    "expires_in",
    "shape",
)
"""The fields of a session, beyond its id and the mark."""

_BARE: Final = {"_id", *MARK, "lease", "queue", "queue_mark", "expires_at", "size"}

ENVELOPE: Final = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)
"""How the client returns documents: as bytes, and so that the `_id` can be read whatever is wrong inside."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Header(msgspec.Struct):
    """The fields of a document that say when its session was stored and when it ends."""

    id: str = msgspec.field(name="_id")
    version: Annotated[str, msgspec.Meta(min_length=1)]
    expires_at: _Moment
    last_activity: _Moment
    created_at: _Moment

    @property
    def deadline(self) -> datetime | None:
        return None if self.expires_at >= NEVER else self.expires_at


class _Document(Header):
    user: dict[str, Any] | str | None
    state: dict[str, Any] | str
    expires_in: Annotated[float, records.LENGTH] | msgspec.UnsetType | None = msgspec.UNSET
    shape: int = 0


HeaderT = TypeVar("HeaderT", bound=Header)


class _PlainInteger(TypeDecoder):
    bson_type = Int64

    def transform_bson(self, value: int) -> int:
        return int(value)


_options: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry([_PlainInteger()])
)
_objects = msgspec.json.Decoder(dict[str, Any])


def ours(session_id: str) -> dict[str, Any]:
    """Return the condition for whatever this driver has stored under an id."""
    return {"_id": session_id, **MARK}


def live(session_id: str, now: datetime, **fields: Any) -> dict[str, Any]:
    """Return the condition for a session that has not expired and has these fields."""
    return {**ours(session_id), "version": {"$exists": True}, **fields, "expires_at": {"$gt": now}}


def encode(session: StoredSession, previous: str | None = None) -> RawBSONDocument:
    """Return the fields of a session, encoded: what is changed afterwards is not stored.

    Args:
        session: The session.
        previous: The version that it replaces, where that is known.

    Raises:
        StateError: The state or the user holds what JSON cannot hold.
        SessionTooLargeError: The document would be larger than MongoDB takes.
    """
    json_values.check_user(session.user)
    fields: dict[str, object] = {
        "version": session.version,
        **({} if previous is None else {"previous": previous}),
        "expires_at": deadline(session.expires_at),
        "last_activity": session.last_activity,
        "created_at": session.created_at,
        "user": _to_bson(session.user, "$.user"),
        "state": _to_bson(json_values.to_json(session.state), "$.state"),
    }
    if session.expires_in is not msgspec.UNSET:
        fields["expires_in"] = session.expires_in
    if session.shape:
        fields["shape"] = session.shape
    encoded = bson.encode(fields)
    if len(encoded) > MAX_BYTES:
        raise SessionTooLargeError(
            f"session {session.id!r} has {len(encoded):,} bytes, and a document of MongoDB can hold {MAX_BYTES:,}",
            remedy="Keep less in its state.",
        )
    return RawBSONDocument(encoded)


def deadline(expires_at: datetime | None) -> datetime:
    """Return how a deadline is stored."""
    return NEVER if expires_at is None else expires_at


def is_ours(document: RawBSONDocument) -> bool:
    """Return whether this driver wrote the document."""
    return bool(document.get("botsession") == MARK["botsession"])


def is_placeholder(document: RawBSONDocument) -> bool:
    """Return whether a document of ours only carries a lease or its queue, so that there is no session."""
    if not is_ours(document):
        return False
    return document.get("placeholder") is True or ("lease" in document and document.keys() <= _BARE)


def foreign(document: RawBSONDocument, session_id: str, *, store: str) -> CorruptSessionError:
    """Return the error that a document of another program has the id of a session."""
    reason = "botsession did not write it and leaves it alone. Move it elsewhere, or choose another collection_name"
    return CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=reason)


def decode(document: RawBSONDocument, session_id: str, *, store: str) -> StoredSession:
    """Return the session of a document.

    Args:
        document: What is stored.
        session_id: The id that was asked for.
        store: A description of the store, without secrets, for the error.

    Raises:
        CorruptSessionError: It is not a session, or it is another session.
    """
    found = convert(document, session_id, _Document, store)
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
        found.deadline,
        found.expires_in,
        found.version,
        found.shape,
    )


def convert(document: RawBSONDocument, session_id: str, kind: type[HeaderT], store: str) -> HeaderT:
    """Return a document as a `Header` or more; raise a `CorruptSessionError` if it is not one."""
    if not is_ours(document):
        raise foreign(document, session_id, store=store)
    try:
        found = msgspec.convert(bson.decode(document.raw, _options), kind)
    except (BSONError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=bytes(document.raw), reason=str(error)) from error
    if found.id != session_id:
        reason = f"it is the session {found.id!r}. The collection may have a collation"
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
