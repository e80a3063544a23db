"""`botsession export`: all sessions into a file."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing

from botsession_console.archives import written
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report
from botsession_console.progress import counting
from botsession_operations.exports import ExportReport, export_lines

DESCRIPTION = """\
Write all sessions, or those whose ids begin with PREFIX, into FILE: one JSON object a line, deadlines included, while bots
go on. A name that ends in .gz, .xz or .bz2 is compressed; - is standard output. The file appears under its name when it is
complete.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="where to write, such as sessions.jsonl.gz")
    parser.add_argument("--prefix", default="", metavar="PREFIX", help="only sessions whose ids begin with PREFIX")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Exports, and says how many."""
    done = ExportReport()
    asyncio.run(_export(parsed, done))
    for error in done.unreadable:
        report(f"left out: {error}")
    report(f"exported {done.sessions:,} sessions, {len(done.unreadable):,} unreadable")
    return FAILED if done.unreadable else 0


async def _export(parsed: argparse.Namespace, done: ExportReport) -> None:
    async with opened_store(parsed) as store:
        with written(parsed.file) as file, counting("exported") as advance:
            async with aclosing(export_lines(store, done, parsed.prefix)) as lines:
                async for line in lines:
                    file.write(line)
                    advance(1)
