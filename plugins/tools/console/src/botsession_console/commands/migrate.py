"""`botsession migrate`: copy all sessions of a store to another one."""

from __future__ import annotations

import argparse
import asyncio
import math
from contextlib import AsyncExitStack, aclosing

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from botsession import ConfigError, SessionStore, SupportsClose
from botsession.configuration.sources import find_settings
from botsession.configuration.stores import open_from
from botsession_console.exits import FAILED, report, say
from botsession_console.screen import counted, make_console
from botsession_operations.handover import hand_over
from botsession_operations.listing import pages
from botsession_operations.migration import MigrationReport, migrate

DESCRIPTION = """\
Copy all sessions of the store FROM to the store TO as they are, including versions and deadlines, and read each one back.
Bots may keep running. FROM and TO are each a URL, or the name of a driver with a section in the configuration. TO keeps
sessions that are equal or newer, so an interrupted migration can simply be repeated.

With --hand-over, it is the last step of a move without downtime: while all bots use a mirror of both stores with
lead = "new", it hands over every session to TO. Afterwards the bots can use TO directly.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("source", metavar="FROM", help="the store to copy from, such as file or file://.sessions")
    parser.add_argument("target", metavar="TO", help="the store to copy to, such as redis://localhost:6379")
    parser.add_argument("--prefix", default="", metavar="PREFIX", help="only sessions whose ids start with PREFIX")
    parser.add_argument("--rate", type=float, metavar="N", help="copy at most N sessions per second")
    parser.add_argument("--dry-run", action="store_true", help="only count what would be copied")
    parser.add_argument(
        "--hand-over", action="store_true", help="make TO lead every session of a mirror, and copy missing ones"
    )
    parser.add_argument("--config", metavar="PATH", help="the configuration file; by default it is searched for")


def run(parsed: argparse.Namespace) -> int:
    """Copy, and report the outcome."""
    if parsed.rate is not None and not 0 < parsed.rate < math.inf:
        raise ConfigError("--rate must be a number of sessions per second above zero")
    if parsed.hand_over and (parsed.dry_run or parsed.rate is not None):
        raise ConfigError("--hand-over cannot be combined with --dry-run or --rate")
    done = MigrationReport()
    try:
        asyncio.run(_migrate(parsed, done))
    except BaseException:
        if done != MigrationReport():
            report(f"{_summary(done, parsed)} before the migration stopped. Repeat it to continue.")
        raise
    for error in [*done.unreadable, *done.failed]:
        report(f"not copied: {error}")
    say(f"{_summary(done, parsed)}\n")
    return FAILED if done.unreadable or done.failed else 0


async def _migrate(parsed: argparse.Namespace, done: MigrationReport) -> None:
    async with AsyncExitStack() as stack:
        source = await _opened(parsed.source, parsed.config, stack)
        target = await _opened(parsed.target, parsed.config, stack)
        if repr(source) == repr(target):
            raise ConfigError("FROM and TO are the same store")
        total = 0
        async with aclosing(pages(source, parsed.prefix)) as listing:
            async for page in listing:
                total += len(page.sessions)
        console = make_console(stderr=True)
        columns = (
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("migrate", total=total)
            if parsed.hand_over:
                steps = hand_over(source, target, done, prefix=parsed.prefix)
            else:
                steps = migrate(source, target, done, prefix=parsed.prefix, rate=parsed.rate, dry_run=parsed.dry_run)
            async with aclosing(steps) as looked_at:
                async for count in looked_at:
                    progress.advance(task, count)


class _Speed(ProgressColumn):
    """Sessions per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


async def _opened(name: str, config: str | None, stack: AsyncExitStack) -> SessionStore:
    store = open_from(find_settings(name, config=config))
    if isinstance(store, SupportsClose):
        stack.push_async_callback(store.close)
    return await store.init()


def _summary(done: MigrationReport, parsed: argparse.Namespace) -> str:
    if parsed.hand_over:
        return (
            f"handed over {counted(done.copied, 'session')} ({done.kept:,} already handed over, "
            f"{len(done.unreadable):,} unreadable, {len(done.failed):,} failed)"
        )
    verb = "would copy" if parsed.dry_run else "copied"
    return (
        f"{verb} {counted(done.copied, 'session')} ({done.kept:,} already existed, {done.gone:,} gone, "
        f"{len(done.unreadable):,} unreadable, {len(done.failed):,} failed)"
    )
