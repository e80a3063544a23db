"""The JSON text of a session, for every driver whose backend keeps bytes or text.

It is one line whose first fields are always the same and in the same order, so that a backend which can compare or cut text (a
Redis script, a ranged read) finds version and deadline without parsing the rest:

    {"version":"9f86d081884c7d65","expires_at":"2027-11-23T09:30:00.000Z","last_activity":"2026-11-23T09:30:00.000Z",
     "created_at":"2026-11-20T18:05:12.345Z","id":"telegram:42","user":null,"state":{"count":3}}

Moments are ISO 8601 in UTC with exactly three decimals, so that their texts sort in order of time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from botsession.errors import CorruptSessionError, InvalidSessionIdError, StateError
from botsession.ids import check_session_id
from botsession.session import Session, SessionInfo
from botsession.states import json_values

if TYPE_CHECKING:
    from botsession.protocol import StoredSession


SHORTEST: Final = 1 / 60_000
LONGEST: Final = 525_600_000
LENGTH = msgspec.Meta(ge=SHORTEST, le=LONGEST)
"""A lifetime in minutes, from a millisecond to a thousand years, as `check_minutes` accepts it."""

HEAD_SIZE: Final = 2048
"""The first so many bytes of a record contain all that `decode_info` needs."""


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
    shape: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Version(msgspec.Struct, gc=False):
    version: str


_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(_Record)
_headers = msgspec.json.Decoder(_Header)
_versions = msgspec.json.Decoder(_Version)

_THREE_MOMENTS: Final = len(_encode(3 * (datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),)))

_VERSION = re.compile(r"[!#-\[\]-~]{1,128}")
"""A version that every driver can store and compare without escaping it."""

_HEAD = re.compile(
    rb'({"version":"[^"\\]*"),"expires_at":(?:null|"[^"\\]*"),"last_activity":"[^"\\]*"(?=,"created_at":)'
)
"""The beginning of what `encode` returns."""


def check_pair(session_id: str, session: StoredSession) -> None:
    """Refuse to store a session under an id that is not its own.

    Raises:
        InvalidSessionIdError: `session_id` is not a session id, or not the session's.
    """
    check_session_id(session_id)
    if session.id != session_id:
        raise InvalidSessionIdError(f"session {session.id!r} cannot be stored under the id {session_id!r}")


def check_restored(session: StoredSession) -> None:
    """Refuse to restore a session that some driver could not read again as the same one.

    Raises:
        InvalidSessionIdError: Its id is not a session id.
        StateError: Its version is not 1 to 128 visible ASCII characters without quotation marks and backslashes; a moment is
            missing, has no time zone or is out of range; or its lifetime or shape is not a valid number.
    """
    check_session_id(session.id)
    version: object = session.version
    if version == "":
        raise StateError("$.version", "it is empty. The session was never stored, and cannot be restored")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise StateError(
            "$.version",
            'a version is 1 to 128 visible ASCII characters, without quotation marks (") and backslashes',
        )
    _check_moment(session.created_at, "created_at")
    _check_moment(session.last_activity, "last_activity")
    if session.expires_at is not None:
        _check_moment(session.expires_at, "expires_at")
    own: Any = session.expires_in
    if (
        own is not msgspec.UNSET
        and own is not None
        and not (_is_number(own, int | float) and SHORTEST <= own <= LONGEST)
    ):
        raise StateError(
            "$.expires_in", f"it must be a number of minutes, from a millisecond to a thousand years; got {own!r}"
        )
    shape: Any = session.shape
    if not (_is_number(shape, int) and 0 <= shape <= json_values.MAX_INTEGER):
        raise StateError("$.shape", f"it must be a number of migrations; got {shape!r}")


def _check_moment(value: object, name: str) -> None:
    if not isinstance(value, datetime):
        raise StateError(f"$.{name}", f"it must be a datetime; got {json_values.kind(value)}")
    if value.utcoffset() is None:
        raise StateError(f"$.{name}", "it has no time zone")
    if not _is_in_range(value):
        raise StateError(f"$.{name}", "it is before the year 1 or after the year 9999 in UTC")


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def moment(value: datetime) -> str:
    """Return a moment as ISO 8601 in UTC with three decimals, such as `2026-11-23T09:30:00.000Z`."""
    return _quoted(value)[1:-1].decode()


def _quoted(value: datetime) -> bytes:
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    quoted = _encode(utc)  # with six decimals, or with none
    return quoted[:24] + b'Z"' if utc.microsecond else quoted[:20] + b'.000Z"'


def encode(session: StoredSession) -> bytes:
    """Return the session as one line of JSON in UTF-8.

    Raises:
        StateError: The state or the user contains something that JSON cannot hold.
    """
    encoded = getattr(session, "_json", None)
    if encoded is None:
        state = json_values.encode(json_values.to_json(session.state))
        user = b"null" if session.user is None else json_values.encode_user(session.user)
    else:
        state, user = encoded
    moments = _encode((session.expires_at, session.last_activity, session.created_at))
    if len(moments) == _THREE_MOMENTS:  # the usual case: three moments in UTC, each with six decimals
        expires_at, last_activity, created_at = moments[1:25] + b'Z"', moments[31:55] + b'Z"', moments[61:85] + b'Z"'
    else:
        expires_at = b"null" if session.expires_at is None else _quoted(session.expires_at)
        last_activity, created_at = _quoted(session.last_activity), _quoted(session.created_at)
    # The fields that most sessions do not have.
    tail = b"" if session.expires_in is msgspec.UNSET else b',"expires_in":%b' % _encode(session.expires_in)
    if session.shape:
        tail += b',"shape":%d' % session.shape
    return b'{"version":"%b","expires_at":%b,"last_activity":%b,"created_at":%b,"id":%b,"user":%b,"state":%b%b}' % (
        session.version.encode(),
        expires_at,
        last_activity,
        created_at,
        _encode(session.id),
        user,
        state,
        tail,
    )


def decode(raw: bytes, session_id: str, *, store: str) -> StoredSession:
    """Return the session in a line of JSON.

    Args:
        raw: The line.
        session_id: The id under which it is stored.
        store: A description of the store for the error, without secrets.

    Raises:
        CorruptSessionError: The line is not a session, or is another session.
    """
    try:
        record = _records.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=raw, reason=str(error)) from error
    _check_stored(record, raw, session_id, store)
    return Session(
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


def decode_info(raw: bytes, session_id: str, *, store: str, size: int | None = None) -> SessionInfo:
    """Return what a scan returns of the session in a line of JSON.

    Args:
        raw: The line, or its first `HEAD_SIZE` bytes.
        session_id: The id under which it is stored.
        store: A description of the store for the error, without secrets.
        size: The number of bytes of the whole line, if it is known.

    Raises:
        CorruptSessionError: The line is not a session, or is another session.
    """
    head, separator, _ = raw.partition(b',"user":')
    try:
        header = _headers.decode(head + b"}" if separator else raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptSessionError(session_id, store=store, raw=raw, reason=str(error)) from error
    _check_stored(header, raw, session_id, store)
    return SessionInfo(header.id, header.created_at, header.last_activity, header.expires_at, header.version, size)


def has_version(raw: bytes, version: str) -> bool:
    """Return whether the session in a line of JSON has this version."""
    if raw.startswith(b'{"version":"%b",' % version.encode(errors="surrogatepass")) and '"' not in version:
        return True
    try:  # another program may have changed the layout
        return _versions.decode(raw).version == version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def is_untouched(raw: bytes, found: StoredSession | SessionInfo) -> bool:
    """Return whether the session in a line of JSON has the version and `last_activity` of one that was found before."""
    head, _, _ = raw.partition(b',"created_at":')
    active = moment(found.last_activity)
    if has_version(head, found.version) and head.endswith(b',"last_activity":"%b"' % active.encode()):
        return True
    try:
        header = _headers.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return header.version == found.version and moment(header.last_activity) == active


def renew(raw: bytes, *, expires_at: datetime | None, last_activity: datetime) -> bytes:
    """Return the line of JSON with another deadline and `last_activity`. Version and body stay the same.

    Args:
        raw: The line, which `decode` or `decode_info` has accepted.
        expires_at: The new deadline; `None` means never.
        last_activity: The moment of the renewal.
    """
    deadline = b"null" if expires_at is None else _quoted(expires_at)
    head = _HEAD.match(raw)
    if head is None:  # another program has changed the layout
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
