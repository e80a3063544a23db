"""What commands show: tables and trees as wide as the terminal is, plain text in a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Final

from rich.console import Console, RenderableType

from botsession_console.exits import say

_WIDE: Final = 100_000
"""How wide a pipe is: nothing in it is cut or wrapped."""

_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that command a terminal, or turn the direction of text."""


def make_console(*, stderr: bool = False) -> Console:
    """Returns the terminal, or the pipe, that standard output or standard error is.

    There are no escape codes in a pipe, and none where `NO_COLOR` is set.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
        width=None if terminal else _WIDE,
        markup=False,
        emoji=False,
        highlight=False,
    )


def show(shown: RenderableType, console: Console) -> None:
    """Writes a table, a tree or a text to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    with console.capture() as capture:
        console.print(shown)
    text = capture.get()
    say(text if console.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))


def show_json(value: object) -> None:
    """Writes a value as one line of JSON to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    say(as_json(value) + "\n")


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Returns JSON in which nothing commands a terminal."""
    return visible(json.dumps(value, ensure_ascii=False, indent=indent), keep="\n")


def visible(text: str, *, keep: str = "") -> str:
    """Returns the text in which what commands a terminal is written as in JSON."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)
