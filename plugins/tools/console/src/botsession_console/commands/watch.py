"""`botsession watch`: watch a session change."""

from __future__ import annotations

import argparse
import asyncio
import math
from contextlib import aclosing
from datetime import datetime
from typing import Any

from rich.text import Text

from botsession import (
    CorruptSessionError,
    Session,
    StoredSession,
    utc_now,
)
from botsession.ids import check_session_id
from botsession.storage.records import moment
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.commands.show import as_object
from botsession_console.screen import as_json, make_console, show, show_json, visible
from botsession_operations.differences import ABSENT, differences
from botsession_operations.watch import watch

DESCRIPTION = """\
Watch a session until Ctrl-C: print what changes in its state whenever it is written.
"""

Seen = StoredSession | CorruptSessionError | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("id", metavar="ID", help="the session id, such as telegram:42; the session may still be absent")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how often to read it; every second by default",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per change, with the whole session")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Watch until Ctrl-C."""
    check_session_id(parsed.id)
    asyncio.run(_watch(parsed))
    return 0


async def _watch(parsed: argparse.Namespace) -> None:
    console = make_console()
    before: Seen = None
    first = True
    async with (
        opened_store(parsed) as store,
        aclosing(watch(store, parsed.id, interval=parsed.interval)) as changes,
    ):
        async for seen in changes:
            if parsed.json:
                show_json({"seen_at": moment(utc_now()), "id": parsed.id, **_as_object(seen)})
            else:
                show(_described(before, seen, parsed.id, first=first), console)
            before, first = seen, False


def _as_object(seen: Seen) -> dict[str, Any]:
    if isinstance(seen, CorruptSessionError):
        return {"unreadable": str(seen)}
    return {"session": None if seen is None else as_object(seen)}


def _described(before: Seen, seen: Seen, session_id: str, *, first: bool) -> Text:
    """Return a description of the change."""
    if isinstance(seen, CorruptSessionError):
        return _heading(utc_now(), str(seen), "red")
    if seen is None:
        return _heading(utc_now(), f"{session_id} is {'absent' if first else 'gone'}", "yellow")
    if not isinstance(before, Session):
        what = "exists" if first else "is readable again" if before is not None else "was created"
        return Text("\n").join([_heading(seen.last_activity, f"{session_id} {what}"), *_differences({}, seen)])
    lines = _differences({"user": before.user, "state": before.state}, seen)
    what = "has changed" if lines else "was written without a change"
    return Text("\n").join([_heading(seen.last_activity, f"{session_id} {what}"), *lines])


def _heading(when: datetime, text: str, style: str = "bold") -> Text:
    return Text.assemble((f"{when.astimezone():%H:%M:%S} ", "dim"), (visible(text), style))


def _differences(before: dict[str, Any], session: StoredSession) -> list[Text]:
    lines: list[Text] = []
    for each in differences(before, {"user": session.user, "state": session.state}):
        if each.before is ABSENT:
            lines.append(Text(f"  + {visible(each.path)}: {as_json(each.after)}", "green"))
        elif each.after is ABSENT:
            lines.append(Text(f"  - {visible(each.path)}: {as_json(each.before)}", "red"))
        else:
            lines.append(Text(f"  ~ {visible(each.path)}: {as_json(each.before)} -> {as_json(each.after)}"))
    return lines


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above zero, not {text!r}")
    return seconds
