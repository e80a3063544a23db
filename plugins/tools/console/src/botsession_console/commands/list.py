"""`botsession list`: list sessions."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import shlex
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any

from botsession import ConfigError, CorruptSessionError, SessionInfo
from botsession.protocol import ScanPage
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import report
from botsession_console.progress import progress_counter
from botsession_console.rows import Rows
from botsession_operations.listing import pages

DESCRIPTION = """\
List sessions: their age, their idle time, the time until they expire, their size in the backend, and their ids. Without
--sort they are listed in the backend's own order, as they are found.
"""

ORDERS: dict[str, Callable[[SessionInfo], Any]] = {
    "id": lambda info: info.id,
    "activity": lambda info: -info.last_activity.timestamp(),
    "expiry": lambda info: (info.expires_at is None, info.expires_at and info.expires_at.timestamp()),
    "age": lambda info: -info.created_at.timestamp(),
    "size": lambda info: (info.size is None, -(info.size or 0)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only ids that start with this, such as telegram:"
    )
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="show about N sessions, and how to continue; exactly N with --sort"
    )
    parser.add_argument("--after", metavar="CURSOR", help="continue where an earlier list with --limit ended")
    parser.add_argument(
        "--sort",
        choices=list(ORDERS),
        help="by id; by last activity, latest first; by expiry, soonest first; by age, youngest first; by size, largest first",
    )
    parser.add_argument("--reverse", action="store_true", help="reverse the order (with --sort)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """List the sessions."""
    if parsed.sort and parsed.after:
        raise ConfigError("--after cannot be combined with --sort because it continues in the backend's own order")
    if parsed.reverse and not parsed.sort:
        raise ConfigError("--reverse needs --sort")
    asyncio.run(_sorted(parsed) if parsed.sort else _as_found(parsed))
    return 0


async def _as_found(parsed: argparse.Namespace) -> None:
    rows = Rows(parsed.json)
    page = ScanPage([], None)
    async with (
        opened_store(parsed) as store,
        aclosing(pages(store, parsed.prefix, after=parsed.after, limit=parsed.limit)) as found,
    ):
        async for page in found:
            rows.add(page.sessions, page.unreadable)
    rows.end()
    if page.next is not None:
        report(f"there are more sessions. Continue with: --after {shlex.quote(page.next)}")


async def _sorted(parsed: argparse.Namespace) -> None:
    first = _First(ORDERS[parsed.sort], parsed.limit, reverse=parsed.reverse)
    unreadable: list[CorruptSessionError] = []
    with progress_counter("found") as advance:
        async with opened_store(parsed) as store, aclosing(pages(store, parsed.prefix)) as found:
            async for page in found:
                first.add(page.sessions)
                unreadable += page.unreadable
                advance(len(page.sessions))
    rows = Rows(parsed.json)
    rows.add(first.in_order(), unreadable)
    rows.end()


class _First:
    """The first sessions in an order, out of any number, in bounded memory."""

    def __init__(self, order: Callable[[SessionInfo], Any], limit: int | None, *, reverse: bool) -> None:
        self._order = order
        self._limit = limit
        self._select = heapq.nlargest if reverse else heapq.nsmallest
        self._kept: dict[str, SessionInfo] = {}

    def add(self, sessions: Iterable[SessionInfo]) -> None:
        self._kept |= {info.id: info for info in sessions}
        if self._limit is not None and len(self._kept) > 2 * self._limit:
            self._kept = {info.id: info for info in self.in_order()}

    def in_order(self) -> list[SessionInfo]:
        size = len(self._kept) if self._limit is None else self._limit
        return self._select(size, self._kept.values(), key=self._order)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a number above zero, not {text!r}")
    return number
