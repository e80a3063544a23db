"""Rows of a list of sessions: a table in a terminal, columns in a pipe, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from botsession import CorruptSessionError, SessionInfo, utc_now
from botsession.storage.records import moment
from botsession_console.exits import report, say
from botsession_console.screen import make_console, short_size, short_span, show, show_json, visible

_COLUMNS: Final = {"AGE": 5, "IDLE": 5, "EXPIRES": 7, "SIZE": 7}
"""The columns before the id, and their widths."""

_NARROW: Final = 60
_NARROW_COLUMNS: Final = ("IDLE", "EXPIRES")
_AT_ONCE: Final = 500


class Rows:
    """Shows sessions as they arrive.

    Args:
        as_json: Whether to write one JSON object per line.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = make_console()
        narrow = self._console.is_terminal and self._console.width < _NARROW
        self._columns = _NARROW_COLUMNS if narrow else tuple(_COLUMNS)
        self._header = True
        self._unreadable = 0

    def add(self, sessions: Sequence[SessionInfo], unreadable: Sequence[CorruptSessionError] = ()) -> None:
        """Show sessions and unreadable records.

        Raises:
            OutputError: The output cannot be written.
        """
        self._unreadable += len(unreadable)
        if self._as_json:
            for info in sessions:
                show_json(as_object(info))
            for error in unreadable:
                show_json({"id": error.session_id, "unreadable": str(error)})
            return
        for start in range(0, len(sessions), _AT_ONCE):
            now = utc_now()
            batch = sessions[start : start + _AT_ONCE]
            self._show([(self._cells(info, now), visible(info.id), "") for info in batch])
        if unreadable:
            blank = ["-"] * len(self._columns)
            self._show([(blank, f"{visible(error.session_id) or '?'} (unreadable)", "red") for error in unreadable])

    def end(self) -> None:
        """Report unreadable sessions, or that there are none at all."""
        if self._unreadable:
            report(f"{self._unreadable:,} unreadable (`botsession show ID` shows why)")
        elif self._header and not self._as_json:
            report("no sessions")

    def _cells(self, info: SessionInfo, now: datetime) -> list[str]:
        cells = {
            "AGE": short_span(now - info.created_at),
            "IDLE": short_span(now - info.last_activity),
            "EXPIRES": "never" if info.expires_at is None else short_span(info.expires_at - now),
            "SIZE": short_size(info.size),
        }
        return [cells[column] for column in self._columns]

    def _show(self, rows: Sequence[tuple[Sequence[str], str, str]]) -> None:
        header, self._header = self._header, False
        widths = [_COLUMNS[column] for column in self._columns]
        if not self._console.is_terminal:
            lines = [([*self._columns], "ID", ""), *rows] if header else rows
            say("".join("  ".join([*map(str.rjust, cells, widths), name]) + "\n" for cells, name, _ in lines))
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header, header_style="bold")
        for column, width in zip(self._columns, widths, strict=True):
            table.add_column(column, justify="right", width=width, no_wrap=True, style="dim")
        table.add_column("ID", overflow="fold")
        for cells, name, style in rows:
            table.add_row(*cells, Text(name, style))
        show(table, self._console)


def as_object(info: SessionInfo) -> dict[str, object]:
    """Return the metadata of a session as a JSON object."""
    return {
        "id": info.id,
        "created_at": moment(info.created_at),
        "last_activity": moment(info.last_activity),
        "expires_at": None if info.expires_at is None else moment(info.expires_at),
        "version": info.version,
        "size": info.size,
    }
