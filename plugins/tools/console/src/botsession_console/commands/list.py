"""`botsession list`: which sessions there are."""

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
from botsession_console.progress import counting
from botsession_console.rows import Rows
from botsession_operations.listing import pages

DESCRIPTION = """\
List sessions: their age, how long they have been idle, in how long they expire, how much the backend keeps for
them, and their ids. Without --sort they come in the backend's own order, as they are found.
"""

ORDERS: dict[str, Callable[[SessionInfo], Any]] = {
    "id": lambda info: info.id,
    "activity": lambda info: -info.last_activity.timestamp(),
    "expiry": lambda info: (info.expires_at is None, info.expires_at and info.expires_at.timestamp()),
    "age": lambda info: -info.created_at.timestamp(),
    "size": lambda info: (info.size is None, -(info.size or 0)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="how the ids begin, such as telegram:")
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="show about N sessions, and how to go on; exactly N with --sort"
    )
    parser.add_argument("--after", metavar="CURSOR", help="go on where an earlier list with --limit has ended")
    parser.add_argument(
        "--sort",
        choices=list(ORDERS),
        help="by id; by last activity, the latest first; by expiry, the soonest first; by age, the youngest first; "
        "by size, the largest first",
    )
    parser.add_argument("--reverse", action="store_true", help="the other way round (with --sort)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Lists the sessions."""
    if parsed.sort and parsed.after:
        raise ConfigError("--after goes on in the backend's own order; it does not go with --sort")
    if parsed.reverse and not parsed.sort:
        raise ConfigError("--reverse turns an order round; say which with --sort")
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
        report(f"there are more; go on with: --after {shlex.quote(page.next)}")


async def _sorted(parsed: argparse.Namespace) -> None:
    chosen = _Chosen(ORDERS[parsed.sort], parsed.limit, reverse=parsed.reverse)
    unreadable: list[CorruptSessionError] = []
    with counting("found") as advance:
        async with opened_store(parsed) as store, aclosing(pages(store, parsed.prefix)) as found:
            async for page in found:
                chosen.add(page.sessions)
                unreadable += page.unreadable
                advance(len(page.sessions))
    rows = Rows(parsed.json)
    rows.add(chosen.in_order(), unreadable)
    rows.end()


class _Chosen:
    """The first ones by an order, of any number: holds no more than it may still need."""

    def __init__(self, order: Callable[[SessionInfo], Any], limit: int | None, *, reverse: bool) -> None:
        self._order = order
        self._limit = limit
        self._first = heapq.nlargest if reverse else heapq.nsmallest
        self._kept: dict[str, SessionInfo] = {}

    def add(self, sessions: Iterable[SessionInfo]) -> None:
        self._kept |= {info.id: info for info in sessions}
        if self._limit is not None and len(self._kept) > 2 * self._limit:
            self._kept = {info.id: info for info in self.in_order()}

    def in_order(self) -> list[SessionInfo]:
        size = len(self._kept) if self._limit is None else self._limit
        return self._first(size, self._kept.values(), key=self._order)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a number above zero, not {text!r}")
    return number
