"""`botsession delete`: delete sessions for good."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from botsession import ConfigError
from botsession.ids import check_session_id
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report, say
from botsession_console.progress import progress_counter
from botsession_console.prompts import check_confirmed
from botsession_console.screen import counted, visible
from botsession_operations.deletion import (
    delete,
    delete_prefix,
    find_existing,
    is_deletable,
)
from botsession_operations.listing import pages

DESCRIPTION = """\
Delete sessions for good, readable or not: those named, or all whose ids start with PREFIX. It shows first what it would
delete, and asks for confirmation. Without a terminal it needs --yes.
"""

_NAMED = 5


@dataclass(slots=True)
class _Preview:
    """What would be deleted: the number of sessions, and the first ids."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    staying: int = 0

    def add(self, session_ids: list[str]) -> None:
        self.count += len(session_ids)
        self.first += session_ids[: _NAMED - len(self.first)]

    def __str__(self) -> str:
        more = self.count - len(self.first)
        names = ", ".join(map(visible, self.first)) + (f" and {more:,} more" if more else "")
        return f"{counted(self.count, 'session')}: {names}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("ids", nargs="*", default=[], metavar="ID", help="a session id, such as telegram:42")
    parser.add_argument("--prefix", metavar="PREFIX", help="delete all sessions whose ids start with PREFIX")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Delete after a preview and a confirmation."""
    if bool(parsed.ids) == (parsed.prefix is not None):
        raise ConfigError("nothing to delete was named", remedy="Pass either session ids or --prefix PREFIX.")
    if parsed.prefix == "":
        raise ConfigError("--prefix: an empty prefix would delete every session")
    for session_id in parsed.ids:
        check_session_id(session_id)
    preview = asyncio.run(_look(parsed))
    if preview.staying:
        report(f"{counted(preview.staying, 'unreadable record')} will stay because the id is unknown")
    if not preview.count:
        say("nothing to delete\n")
        return 0
    say(f"{preview}\n")
    if not check_confirmed(f"Delete {'it' if preview.count == 1 else 'them'} for good?", yes=parsed.yes):
        say("nothing was deleted\n")
        return FAILED
    tally = _Tally()
    try:
        with progress_counter("deleted", preview.count) as tally.advance:
            asyncio.run(_delete(parsed, tally))
    except BaseException:
        report(f"deleted {counted(tally.deleted, 'session')} before the command stopped")
        raise
    say(f"deleted {counted(tally.deleted, 'session')}\n")
    return 0


@dataclass(slots=True)
class _Tally:
    """The number of deleted sessions, and the progress counter."""

    deleted: int = 0
    advance: Callable[[int], object] = int

    def add(self, more: int) -> None:
        self.deleted += more
        self.advance(more)


async def _look(parsed: argparse.Namespace) -> _Preview:
    preview = _Preview()
    async with opened_store(parsed) as store:
        if parsed.ids:
            there = await find_existing(store, list(dict.fromkeys(parsed.ids)))
            for absent in sorted({*parsed.ids} - {*there}):
                report(f"there is no session {absent!r}")
            preview.add(there)
            return preview
        async with aclosing(pages(store, parsed.prefix)) as found:
            async for page in found:
                deletable = [error.session_id for error in page.unreadable if is_deletable(error, parsed.prefix)]
                preview.add([info.id for info in page.sessions] + deletable)
                preview.staying += sum(not error.session_id for error in page.unreadable)
    return preview


async def _delete(parsed: argparse.Namespace, tally: _Tally) -> None:
    async with opened_store(parsed) as store:
        if parsed.prefix is None:
            done = delete(store, await find_existing(store, list(dict.fromkeys(parsed.ids))))
        else:
            done = delete_prefix(store, parsed.prefix)
        async with aclosing(done) as counts:
            async for count in counts:
                tally.add(count)
