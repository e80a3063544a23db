"""The file of an export: what its lines are.

    {"botsession":"export","format":1}
    {"version":"...","expires_at":"...",...,"id":"telegram:42","user":null,"state":{"count":3}}
    ...
    {"botsession":"end","sessions":1}

One JSON object a line, in UTF-8; between the first and the last line one session each, as `botsession.records` has it. A file
without its last line is cut.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from botsession import records
from botsession.errors import BotSessionError, InvalidSessionIdError
from botsession.ids import check_session_id
from botsession.protocol import StoredSession

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


def parse(line: bytes) -> StoredSession | End:
    """Returns what a line after the first one holds.

    Raises:
        ArchiveError: It is neither a session nor the end.
    """
    try:
        if line.startswith(b'{"botsession":'):
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
