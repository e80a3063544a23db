"""The file of an export: what its lines are.

    {"botsession":"export","format":1}
    {"version":"...","expires_at":"...",...,"id":"telegram:42","user":null,"state":{"count":3}}
    ...
    {"botsession":"end","sessions":1}

One JSON object a line, in UTF-8; between the first and the last line one session each, as `botsession.storage.records` has it. A file
without its last line is cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from botsession.errors import BotSessionError, InvalidSessionIdError
from botsession.ids import check_session_id
from botsession.protocol import StoredSession
from botsession.storage import records

FORMAT: Final = 1


class ArchiveError(BotSessionError):
    """A line is no part of an export; the message says why."""


class End(msgspec.Struct, frozen=True):
    """The last line: how many sessions the export has."""

    sessions: int
    botsession: Literal["end"] = "end"


class _Beginning(msgspec.Struct):
    format: int
    botsession: Literal["export"] = "export"


class _WithId(msgspec.Struct):
    id: str


_OURS: Final = b'{"botsession":'

_encoder: Final = msgspec.json.Encoder()
_beginning: Final = msgspec.json.Decoder(_Beginning)
_end: Final = msgspec.json.Decoder(End)
_with_id: Final = msgspec.json.Decoder(_WithId)


def first_line() -> bytes:
    """Returns the line with which an export begins."""
    return b'{"botsession":"export","format":%d}\n' % FORMAT


def last_line(sessions: int) -> bytes:
    """Returns the line with which an export of so many sessions ends."""
    return b'{"botsession":"end","sessions":%d}\n' % sessions


def session_line(session: StoredSession) -> bytes:
    """Returns the line of a session."""
    return records.encode(session) + b"\n"


def check_first_line(line: bytes) -> None:
    """Refuses a file that is no export, or one of a later format.

    Raises:
        ArchiveError: It is none.
    """
    try:
        beginning = _beginning.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError("this is no export of botsession: its first line does not say so") from error
    if beginning.format != FORMAT:
        raise ArchiveError(f"this export has the format {beginning.format}; this version reads {FORMAT}, update it")


def check_end(lines: Iterable[bytes]) -> None:
    """Refuses a file that goes on after the last line of an export; one without that line is no matter of this.

    Raises:
        ArchiveError: It does, and on which line.
        Exception: Whatever the lines raise.
    """
    end: int | None = None
    for number, line in enumerate(lines, 1):
        if end is not None:
            check_is_blank(line, number, end)
        elif number > 1 and line.startswith(_OURS) and _is_end(line):
            end = number


def check_is_blank(line: bytes, number: int, end: int) -> None:
    """Refuses a line after the last one of an export.

    Args:
        line: The line.
        number: Its number, from 1.
        end: The number of the last line.

    Raises:
        ArchiveError: There is something on it.
    """
    if not line.strip():
        return
    what = "another export begins" if line.startswith(b'{"botsession":"export"') else "there is something"
    raise ArchiveError(
        f"line {number}: {what} after the end of the export on line {end}; were files joined, or lines added? "
        "Import each export by itself"
    )


def _is_end(line: bytes) -> bool:
    try:
        return isinstance(parse(line), End)
    except ArchiveError:
        return False


def parse(line: bytes) -> StoredSession | End:
    """Returns what a line after the first one holds.

    Raises:
        ArchiveError: It is neither a session nor the end.
    """
    try:
        if line.startswith(_OURS):
            return _end.decode(line)
        session_id = _with_id.decode(line).id
        check_session_id(session_id)
        session = records.decode(line.strip(), session_id, store="the export")
        records.check_restored(session)
        records.encode(session)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidSessionIdError) as error:
        raise ArchiveError(str(error)) from error
    except BotSessionError as error:
        raise ArchiveError(str(error.__cause__ or error)) from error
    return session
