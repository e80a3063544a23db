"""`botsession doctor`: check the setup."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from typing import Final

from rich.table import Table
from rich.text import Text

from botsession import Finding
from botsession.protocol import Level
from botsession_console.backend import add_backend_options, given_settings
from botsession_console.exits import FAILED, MISCONFIGURED, say
from botsession_console.screen import counted, make_console, show, show_json, visible
from botsession_operations.doctor import examine

DESCRIPTION = """\
Examine the configuration, the driver and the backend. Report what would lose sessions, with a remedy for each problem.

The store is opened as a bot opens it, which creates a missing directory or index. The doctor creates, changes and removes
one session of its own (botsession-doctor:...) and touches nothing else.
"""

EPILOG = """\
exit codes:
  0    all is well
  1    there are warnings
  2    there are errors
  130  ended by Ctrl-C
"""

_MARKS: Final[dict[Level, str]] = {"ok": "\u2713", "unknown": "?", "warning": "!", "error": "\u2717"}
_PLAIN: Final = str.maketrans({"\u2713": "+", "\u2717": "x", "\u2192": ">"})
_STYLES: Final[dict[Level, str]] = {"ok": "green", "unknown": "cyan", "warning": "yellow", "error": "red"}

_TOPIC_WIDTH: Final = 13
_NARROW: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="one JSON object per line, one for each finding")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Examine the setup."""
    findings = _Findings(as_json=parsed.json)
    asyncio.run(examine(findings.add, given_settings(parsed), config=parsed.config))
    findings.end()
    return findings.exit_code


class _Findings:
    """Shows findings as they arrive: a mark, the topic, the message, and the remedy below it."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = make_console()
        self._counts: Counter[Level] = Counter()
        encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
        self._plain = "\u2713".encode(encoding, "replace") == b"?"

    @property
    def exit_code(self) -> int:
        return MISCONFIGURED if self._counts["error"] else FAILED if self._counts["warning"] else 0

    def add(self, finding: Finding) -> None:
        self._counts[finding.level] += 1
        message, remedy = visible(finding.message), visible(finding.remedy)
        mark, arrow = _MARKS[finding.level], "\u2192"
        if self._plain:
            mark, arrow = mark.translate(_PLAIN), arrow.translate(_PLAIN)
        if self._as_json:
            names = ("level", "topic", "message", "remedy")
            show_json({name: getattr(finding, name) for name in names})
        elif not self._console.is_terminal:
            topic = visible(finding.topic).ljust(_TOPIC_WIDTH)
            say(f"{mark} {topic}  {message}\n" + (f"  {'':{_TOPIC_WIDTH}}  {arrow} {remedy}\n" if remedy else ""))
        else:
            line = f"\n{arrow} {remedy}" if remedy else ""
            self._show(finding.level, mark, visible(finding.topic), Text.assemble(message, (line, "bold")))

    def end(self) -> None:
        """Show a summary in one line."""
        if self._as_json:
            return
        counts = [counted(self._counts[level], level) for level in ("error", "warning") if self._counts[level]]
        say(f"\n{' and '.join(counts) or 'all is well'}\n")

    def _show(self, level: Level, mark: str, topic: str, message: Text) -> None:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=1, style=_STYLES[level])
        if self._console.width >= _NARROW:
            table.add_column(width=_TOPIC_WIDTH, style="dim", no_wrap=True, overflow="ellipsis")
            table.add_column(overflow="fold")
            table.add_row(mark, topic, message)
        else:
            table.add_column(overflow="fold")
            table.add_row(mark, Text.assemble((f"{topic}: ", "dim"), message))
        show(table, self._console)
