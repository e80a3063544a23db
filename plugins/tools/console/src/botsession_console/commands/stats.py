"""`botsession stats`: count sessions."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from botsession import utc_now
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.progress import progress_counter
from botsession_console.screen import make_console, short_size, show, show_json, visible
from botsession_operations.statistics import SIZES, Statistics, statistics

DESCRIPTION = """\
Count sessions: in total, unreadable ones, by remaining lifetime, by size, and by the day (in UTC) of their last activity.
"""

_DAYS = 14
_BAR = 30
_ENDING = {"hour": "within an hour", "day": "within a day", "week": "within a week", "later": "later", "never": "never"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only ids that start with this, such as telegram:"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Count the sessions."""
    found = asyncio.run(_count(parsed))
    if parsed.json:
        show_json(as_object(found))
        return 0
    console = make_console()
    show(Group(_totals(found), *_histograms(found, console)), console)
    return 0


def as_object(found: Statistics) -> dict[str, Any]:
    """Return the counts as a JSON object."""
    return {
        "sessions": found.sessions,
        "unreadable": found.unreadable,
        "measured": found.measured,
        "size": found.size,
        "largest": found.largest and {"id": found.largest.id, "size": found.largest.size},
        "sizes": [{"up_to": bound, "sessions": found.sizes[bound]} for bound in (*SIZES, None)],
        "active": {str(day): found.active[day] for day in sorted(found.active)},
        "ending": {name: found.ending[name] for name in _ENDING},
    }


async def _count(parsed: argparse.Namespace) -> Statistics:
    with progress_counter("counted") as advance:
        async with opened_store(parsed) as store:
            return await statistics(store, parsed.prefix, progress=advance)


def _totals(found: Statistics) -> Table:
    totals = Table.grid(padding=(0, 2))
    totals.add_column(style="bold")
    totals.add_column(overflow="fold")
    totals.add_row("sessions", f"{found.sessions:,}")
    totals.add_row("unreadable", Text(f"{found.unreadable:,}", "red" if found.unreadable else ""))
    if found.largest is not None:
        totals.add_row("size", f"{short_size(found.size)}, {short_size(found.size / found.measured)} each on average")
        totals.add_row("largest", f"{visible(found.largest.id)}, {short_size(found.largest.size)}")
    return totals


def _histograms(found: Statistics, console: Console) -> Iterable[Text | Table]:
    if not found.sessions:
        return
    if found.measured:
        used = [index for index, bound in enumerate((*SIZES, None)) if found.sizes[bound]]
        bounds = (*SIZES, None)[used[0] : used[-1] + 1]
        labels = [
            f"over {short_size(SIZES[-1])}" if bound is None else f"up to {short_size(bound)}" for bound in bounds
        ]
        yield from _histogram("size", zip(labels, (found.sizes[bound] for bound in bounds), strict=True), console)
    yield from _histogram("ends", ((label, found.ending[name]) for name, label in _ENDING.items()), console)
    yield from _histogram("last active", _days(found), console)


def _days(found: Statistics) -> list[tuple[str, int]]:
    """Return the counts of the last days, and the total of all days before them."""
    today = max([utc_now().date(), *found.active])
    days: list[date] = [today - timedelta(days=days) for days in range(_DAYS)]
    earlier = found.sessions - sum(found.active[day] for day in days)
    while len(days) > 1 and not earlier and not found.active[days[-1]]:
        days.pop()
    return [(str(day), found.active[day]) for day in days] + ([("earlier", earlier)] if earlier else [])


def _histogram(title: str, rows: Iterable[tuple[str, int]], console: Console) -> Iterable[Text | Table]:
    counted = list(rows)
    most = max(count for _, count in counted)
    mark = "#" if console.options.ascii_only else "█"
    yield Text(f"\n{title}", "bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=15)
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True, overflow="crop")
    for label, count in counted:
        table.add_row(label, f"{count:,}", mark * -(-count * _BAR // most))
    yield table
