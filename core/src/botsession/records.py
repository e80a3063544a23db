"""The JSON text of a session, for every driver whose backend keeps bytes or text.

One line of JSON whose first fields are always the same and in the same order, so that a backend which can compare or
cut text (a Redis script, a ranged read) finds version and deadline without parsing the rest:

    {"version":"9f86d081884c7d65","expires_at":"2027-11-23T09:30:00.000Z","last_activity":"2026-11-23T09:30:00.000Z",
     "created_at":"2026-11-20T18:05:12.345Z","id":"telegram:42","user":null,"state":{"count":3}}

A backend that keeps text stores `encode(...).decode()`. One that renews a deadline beside the line, in a column, sets
`expires_at` and `last_activity` of the session after `decode`: what the backend says goes before what the line says.

Moments are ISO 8601 in UTC with exactly three decimals, so that their texts sort as they do.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from botsession import states
from botsession.errors import CorruptSessionError, InvalidSessionIdError, StateError
from botsession.ids import check_session_id
from botsession.session import Session, SessionInfo

if TYPE_CHECKING:
    from botsession.protocol import StoredSession


LENGTH = msgspec.Meta(ge=1 / 60_000, le=525_600_000)
"""A lifetime in minutes: what `check_minutes` takes, from a millisecond to a thousand years."""


class _Header(msgspec.Struct, gc=False):
    version: str
    expires_at: datetime | None
    last_activity: datetime
    created_at: datetime
    id: str


class _Record(_Header, gc=False):
    user: dict[str, Any] | None
    state: dict[str, Any]
    expires_in: Annotated[float, LENGTH] | msgspec.UnsetType | None = msgspec.UNSET
    shape: int = 0


_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(_Record)
_headers = msgspec.json.Decoder(_Header)

_HEAD = re.compile(
    rb'({"version":"[^"\\]*"),"expires_at":(?:null|"[^"\\]*"),"last_activity":"[^"\\]*"(?=,"created_at":)'
)
"""How `encode` begins."""

_BEFORE_STATE = b',"user":null,"state":'


def check_pair(session_id: str, session: StoredSession) -> None:
    """Refuses to store a session under an id that is not its own.

    Raises:
        InvalidSessionIdError: `session_id` is no session id, or not the session's.
    """
    check_session_id(session_id)
    if session.id != session_id:
        raise InvalidSessionIdError(f"session {session.id!r} cannot be stored under the id {session_id!r}")


def check_restored(session: StoredSession) -> None:
    """Refuses to store a session as it is that was never stored before.

    Raises:
        InvalidSessionIdError: Its id is no session id.
        StateError: It has no version, or a moment without a time zone.
    """
    check_session_id(session.id)
    if not session.version:
        raise StateError("$.version", "it is empty: the session was never stored, and cannot be restored")
    for name in ("created_at", "last_activity", "expires_at"):
        value: datetime | None = getattr(session, name)
        if value is not None and value.tzinfo is None:
            raise StateError(f"$.{name}", "the moment has no time zone")


def moment(value: datetime) -> str:
    """Returns a moment as ISO 8601 in UTC with three decimals, such as `2026-11-23T09:30:00.000Z`."""
    return _quoted(value)[1:-1].decode()


def _quoted(value: datetime) -> bytes:
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    quoted = _encode(utc)  # with six decimals, or with none
    return quoted[:24] + b'Z"' if utc.microsecond else quoted[:20] + b'.000Z"'


def encode(session: StoredSession) -> bytes:
    """Returns the session as one line of JSON in UTF-8.

    Raises:
        StateError: The state or the user holds what JSON cannot hold.
    """
    encoded = getattr(session, "_json", None)
    if encoded is None:
        state = states.encode(states.to_json(session.state))
        user = b"null" if session.user is None else states.encode_user(session.user)
    else:
        state, user = encoded
    return b'{"version":"%b","expires_at":%b,"last_activity":%b,"created_at":%b,"id":%b,"user":%b,"state":%b%b}' % (
        session.version.encode(),
        b"null" if session.expires_at is None else _quoted(session.expires_at),
        _quoted(session.last_activity),
        _quoted(session.created_at),
        _encode(session.id),
        user,
        state,
        _tail(session),
    )


def _tail(session: StoredSession) -> bytes:
    """Returns the fields that most sessions do not have."""
    tail = b"" if session.expires_in is msgspec.UNSET else b',"expires_in":%b' % _encode(session.expires_in)
    return tail + b',"shape":%d' % session.shape if session.shape else tail


def decode(raw: bytes, session_id: str, *, store: str) -> StoredSession:
    """Returns the session in one line of JSON.

    Args:
        raw: What is stored.
        session_id: The id under which it is stored.
        store: A description of the store, without secrets, for the error.

    Raises:
        CorruptSessionError: It is no session, or another session than this one.
    """
    try:
        record = _records.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=raw, reason=str(error)) from error
    _check_stored(record, raw, session_id, store)
    session = Session(
        record.id,
        record.state,
        record.user,
        record.created_at,
        record.last_activity,
        record.expires_at,
        record.expires_in,
        record.version,
        record.shape,
    )
    begin = raw.find(_BEFORE_STATE)
    if begin > 0 and record.user is None and record.expires_in is msgspec.UNSET and not record.shape:
        session._read = raw.rstrip()[begin + len(_BEFORE_STATE) : -1]
    return session


def decode_info(raw: bytes, session_id: str, *, store: str, size: int | None = None) -> SessionInfo:
    """Returns what a scan tells of the session in one line of JSON.

    Args:
        raw: What is stored, or its beginning with the whole of the header.
        session_id: The id under which it is stored.
        store: A description of the store, without secrets, for the error.
        size: How many bytes are stored in all, where that is known.

    Raises:
        CorruptSessionError: It is no session, or another session than this one.
    """
    head, separator, _ = raw.partition(b',"user":')
    try:
        header = _headers.decode(head + b"}" if separator else raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=raw, reason=str(error)) from error
    _check_stored(header, raw, session_id, store)
    return SessionInfo(header.id, header.created_at, header.last_activity, header.expires_at, header.version, size)


def has_version(raw: bytes, version: str) -> bool:
    """Tells whether a line of JSON has this version, without parsing it."""
    return raw.startswith(b'{"version":"%b",' % version.encode())


def is_untouched(raw: bytes, found: StoredSession | SessionInfo) -> bool:
    """Tells whether a line of JSON has version and last activity of what was found before, without parsing it."""
    head, _, _ = raw.partition(b',"created_at":')
    return has_version(head, found.version) and head.endswith(
        b',"last_activity":"%b"' % moment(found.last_activity).encode()
    )


def renew(raw: bytes, *, expires_at: datetime | None, last_activity: datetime) -> bytes:
    """Returns the same line of JSON with another deadline and last activity; version and body stay.

    Args:
        raw: What is stored, already checked by `decode` or `decode_info`.
        expires_at: The new deadline; `None` means never.
        last_activity: The moment of the renewal.
    """
    deadline = b"null" if expires_at is None else _quoted(expires_at)
    head = _HEAD.match(raw)
    if head is None:  # somebody has laid it out in another way
        record = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        record["expires_at"], record["last_activity"] = msgspec.Raw(deadline), msgspec.Raw(_quoted(last_activity))
        return _encode(record)
    return b'%b,"expires_at":%b,"last_activity":%b%b' % (head[1], deadline, _quoted(last_activity), raw[head.end() :])


def _check_stored(header: _Header, raw: bytes, session_id: str, store: str) -> None:
    begins, active, ends = header.created_at, header.last_activity, header.expires_at
    if header.id != session_id:
        reason = f"it says that it is session {header.id!r}"
    elif not header.version:
        reason = "it has no version"
    elif begins.tzinfo is active.tzinfo is UTC and (ends is None or ends.tzinfo is UTC):
        return
    elif not (begins.tzinfo and active.tzinfo and (ends is None or ends.tzinfo)):
        reason = "a moment in it has no time zone"
    elif not all(map(_is_in_range, (begins, active, ends))):
        reason = "a moment in it is before the year 1 or after the year 9999 in UTC"
    else:
        return
    raise CorruptSessionError(session_id, store=store, raw=raw, reason=reason)


def _is_in_range(moment: datetime | None) -> bool:
    try:
        return moment is None or bool(moment.astimezone(UTC))
    except OverflowError:
        return False
