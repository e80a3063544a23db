"""The format of an export.

    {"botsession":"export","format":1}
    {"version":"...","expires_at":"...",...,"id":"telegram:42","user":null,"state":{"count":3}}
    ...
    {"botsession":"end","sessions":1}

One JSON object per line, in UTF-8. Between the first and the last line, each line is one session in the format of
`botsession.storage.records`. A file without its last line is incomplete.
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
    """A line is not part of an export."""


class End(msgspec.Struct, frozen=True):
    """The last line, with the number of sessions in the export."""

    sessions: int
    botsession: Literal["end"] = "end"


class _Header(msgspec.Struct):
    format: int
    botsession: Literal["export"] = "export"


class _WithId(msgspec.Struct):
    id: str


_OURS: Final = b'{"botsession":'

_header: Final = msgspec.json.Decoder(_Header)
_end: Final = msgspec.json.Decoder(End)
_with_id: Final = msgspec.json.Decoder(_WithId)


def first_line() -> bytes:
    """Return the first line of an export."""
    return b'{"botsession":"export","format":%d}\n' % FORMAT


def last_line(sessions: int) -> bytes:
    """Return the last line of an export with this number of sessions."""
    return b'{"botsession":"end","sessions":%d}\n' % sessions


def session_line(session: StoredSession) -> bytes:
    """Return the line of a session."""
    return records.encode(session) + b"\n"


def check_first_line(line: bytes) -> None:
    """Check that a file is an export in a format that this version reads.

    Raises:
        ArchiveError: It is not.
    """
    try:
        header = _header.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError("this file is not a botsession export: its first line is not an export's header") from error
    if header.format != FORMAT:
        raise ArchiveError(
            f"this export has format {header.format}, but this version of botsession reads format {FORMAT}",
            remedy="Upgrade botsession-operations.",
        )


def check_end(lines: Iterable[bytes]) -> None:
    """Check that nothing follows the last line of an export. A missing last line is not an error here.

    Raises:
        ArchiveError: Something follows; the message names the line.
        Exception: Whatever iterating over the lines raises.
    """
    end: int | None = None
    for number, line in enumerate(lines, 1):
        if end is not None:
            check_is_blank(line, number, end)
        elif number > 1 and line.startswith(_OURS) and _is_end(line):
            end = number


def check_is_blank(line: bytes, number: int, end: int) -> None:
    """Check that a line after the end of an export is blank.

    Args:
        line: The line.
        number: Its number, from 1.
        end: The number of the export's last line.

    Raises:
        ArchiveError: The line is not blank.
    """
    if not line.strip():
        return
    what = "another export begins" if line.startswith(b'{"botsession":"export"') else "there is more text"
    raise ArchiveError(
        f"line {number}: {what} after the end of the export on line {end}",
        remedy="If files were joined, import each export by itself. If lines were added, remove them.",
    )


def _is_end(line: bytes) -> bool:
    try:
        return isinstance(parse(line), End)
    except ArchiveError:
        return False


def parse(line: bytes) -> StoredSession | End:
    """Return the content of any line after the first one.

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
