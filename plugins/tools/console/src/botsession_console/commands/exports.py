"""`botsession export`: write all sessions to a file."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing

from botsession_console.archives import open_output
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report
from botsession_console.progress import progress_counter
from botsession_console.screen import counted
from botsession_operations.exports import ExportReport, export_lines

DESCRIPTION = """\
Write all sessions, or those whose ids start with PREFIX, to FILE: one JSON object per line, including deadlines. Bots may
keep running. A file ending in .gz, .xz or .bz2 is compressed; - is standard output. The file appears under its name once it
is complete.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="the file to write, such as sessions.jsonl.gz")
    parser.add_argument("--prefix", default="", metavar="PREFIX", help="only sessions whose ids start with PREFIX")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Export, and report how many sessions."""
    done = ExportReport()
    asyncio.run(_export(parsed, done))
    for error in done.unreadable:
        report(f"skipped: {error}")
    report(f"exported {counted(done.sessions, 'session')}, {len(done.unreadable):,} unreadable")
    return FAILED if done.unreadable else 0


async def _export(parsed: argparse.Namespace, done: ExportReport) -> None:
    async with opened_store(parsed) as store:
        with open_output(parsed.file) as file, progress_counter("exported") as advance:
            async with aclosing(export_lines(store, done, parsed.prefix)) as lines:
                async for line in lines:
                    file.write(line)
                    advance(1)
