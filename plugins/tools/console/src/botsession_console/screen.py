"""Output of commands: as wide as the terminal, or plain text in a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Console, RenderableType

from botsession_console.exits import say

_PIPE_WIDTH: Final = 100_000
"""Wide enough that nothing in a pipe is truncated or wrapped."""

_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and characters that change the direction of text."""

_UNITS: Final = ((86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "m"))


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error.

    A pipe gets no escape codes, and neither does a terminal if `NO_COLOR` is set.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
        width=None if terminal else _PIPE_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def show(shown: RenderableType, console: Console) -> None:
    """Write a table, a tree or a text to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    with console.capture() as capture:
        console.print(shown)
    text = capture.get()
    say(text if console.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))


def show_json(value: object) -> None:
    """Write a value to standard output as one line of JSON.

    Raises:
        OutputError: It cannot be written.
    """
    say(as_json(value) + "\n")


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON with all control characters escaped."""
    return visible(json.dumps(value, ensure_ascii=False, indent=indent), keep="\n")


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with control characters escaped as in JSON."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 session` or `1,204 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_span(span: timedelta) -> str:
    """Return a length of time in its largest unit, rounded down, such as `3d`."""
    seconds = max(0, int(span.total_seconds()))
    for length, unit in _UNITS:
        if seconds >= length * (2 if unit == "y" else 1):
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def short_size(size: float | None) -> str:
    """Return a number of bytes such as `1.2KB`, with 1,024 bytes to the KB, or `-` if it is unknown."""
    if size is None:
        return "-"
    for unit in ("B", "KB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            break
        size /= 1024
    return f"{size:.0f}{unit}" if unit == "B" or size >= 99.95 else f"{size:.1f}{unit}"


def long_moment(moment: datetime) -> str:
    """Return a moment such as `2026-11-23 09:30:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
