"""A session as a row of the table, and back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botsession import (
    CorruptSessionError,
    InvalidSessionIdError,
    SessionInfo,
    StoredSession,
    StoreError,
)
from botsession.ids import check_session_id
from botsession.storage import records

Row = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(moment: datetime) -> int:
    """Returns a moment as milliseconds since 1970 in UTC."""
    return (moment - _EPOCH) // _MILLISECOND


def from_session(session: StoredSession) -> Row:
    """Returns the row of a session that has been stamped.

    Raises:
        StateError: The state or the user holds what JSON cannot hold.
    """
    return {
        "id": session.id,
        "version": session.version,
        "expires_at": None if session.expires_at is None else milliseconds(session.expires_at),
        "last_activity": milliseconds(session.last_activity),
        "created_at": milliseconds(session.created_at),
        "record": records.encode(session).decode(),
    }


def condition(over: StoredSession | SessionInfo | None) -> Row:
    """Returns what must be stored for a session to be restored."""
    if over is None:
        return {"expected": None, "active": None}
    return {"expected": over.version, "active": milliseconds(over.last_activity)}


def to_session(row: Sequence[Any], store: str) -> StoredSession:
    """Returns the session of a row; version and times are those of the columns, which a touch moves.

    Raises:
        CorruptSessionError: The row holds no session.
    """
    *columns, record = row
    info = to_info(columns, store, raw=record)
    session = records.decode(record, info.id, store=store)
    session.version = info.version
    session.expires_at = info.expires_at
    session.last_activity = info.last_activity
    session.created_at = info.created_at
    return session


def to_info(columns: Sequence[Any], store: str, *, size: int | None = None, raw: bytes | None = None) -> SessionInfo:
    """Returns what the columns beside the record tell.

    Args:
        columns: `id`, `version`, `expires_at`, `last_activity` and `created_at`.
        store: A description of the store, for the error.
        size: How many bytes the record has.
        raw: What an error shows as the stored bytes; the columns where not given.

    Raises:
        CorruptSessionError: A column holds what a store never writes.
    """
    session_id, version, expires_at, last_activity, created_at = columns
    try:
        check_session_id(session_id)
        return SessionInfo(
            session_id,
            _moment(created_at),
            _moment(last_activity),
            None if expires_at is None else _moment(expires_at),
            _version(version),
            size,
        )
    except (InvalidSessionIdError, OverflowError, TypeError, ValueError) as error:
        shown = repr(tuple(columns)).encode() if raw is None else raw
        raise CorruptSessionError(str(session_id), store=store, raw=shown, reason=str(error)) from error


def outcome(row: Sequence[Any] | None, store: str) -> StoredSession | StoreError | None:
    """Returns the session of a row, where there is one, or why it cannot be read."""
    try:
        return None if row is None else to_session(row, store)
    except CorruptSessionError as error:
        return error


def listed(row: Sequence[Any], store: str) -> SessionInfo | CorruptSessionError:
    """Returns what a row tells whose last column is the size of the record, or why it cannot be read."""
    *columns, size = row
    try:
        return to_info(columns, store, size=size)
    except CorruptSessionError as error:
        return error


def _version(value: str) -> str:
    if not value:
        raise ValueError("it has no version")
    return value


def _moment(value: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=value)
