"""`botsession show`: show one session."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.text import Text
from rich.tree import Tree

from botsession import CorruptSessionError, StoredSession, utc_now
from botsession.storage import records
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report, say, say_bytes
from botsession_console.failures import describe
from botsession_console.screen import as_json, long_moment, make_console, short_span, show, show_json, visible

DESCRIPTION = """\
Show one session: its metadata, and its state as a tree. The exit code is 1 if it is absent or unreadable.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("id", metavar="ID", help="the session id, such as telegram:42")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="as one JSON object")
    forms.add_argument(
        "--raw", action="store_true", help="as the line of JSON that drivers store; if unreadable, the stored bytes"
    )
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Show the session."""
    try:
        session = asyncio.run(_read(parsed))
    except CorruptSessionError as error:
        _show_unreadable(error, parsed)
        return FAILED
    if session is None:
        report(f"there is no session {parsed.id!r}")
        return FAILED
    if parsed.json:
        show_json(as_object(session))
    elif parsed.raw:
        say(visible(records.encode(session).decode()) + "\n")
    else:
        show(_tree(session), make_console())
    return 0


def as_object(session: StoredSession) -> dict[str, Any]:
    """Return a session as a JSON object in the drivers' format, with the id first."""
    return {"id": session.id, **json.loads(records.encode(session))}


async def _read(parsed: argparse.Namespace) -> StoredSession | None:
    async with opened_store(parsed) as store:
        return await store.read(parsed.id)


def _show_unreadable(error: CorruptSessionError, parsed: argparse.Namespace) -> None:
    if parsed.json:
        raw = error.raw.decode(errors="backslashreplace")
        show_json({"id": error.session_id, "unreadable": str(error), "raw": raw})
    elif parsed.raw:
        if sys.stdout is not None and sys.stdout.isatty():
            say(visible(error.raw.decode(errors="backslashreplace"), keep="\n\t") + "\n")
        else:
            say_bytes(error.raw)
    report(describe(error))


def _tree(session: StoredSession) -> Tree:
    tree = Tree(Text(visible(session.id), "bold"), guide_style="dim")
    now = utc_now()
    length = session.expires_in
    facts = {
        "created": _ago(session.created_at, now),
        "last activity": _ago(session.last_activity, now),
        "expires": "never" if session.expires_at is None else _ahead(session.expires_at, now),
        "version": session.version,
    }
    if length is None:
        facts["expires in"] = "never (set by the session)"
    elif not isinstance(length, msgspec.UnsetType):
        facts["expires in"] = f"{short_span(timedelta(minutes=length))} after its last activity (set by the session)"
    for name, fact in facts.items():
        tree.add(Text.assemble((f"{name}: ", "dim"), visible(fact)))
    for part, value in (("user", session.user), ("state", session.state)):
        _add(tree, Text(part, "bold"), value)
    return tree


def _add(tree: Tree, label: Text, value: Any) -> None:
    if isinstance(value, dict) and value:
        branch = tree.add(label)
        for key, item in value.items():
            _add(branch, Text(visible(key) if key.isidentifier() else as_json(key), "cyan"), item)
    elif isinstance(value, list) and value:
        branch = tree.add(label + Text(f" ({len(value):,} item{'s' if len(value) > 1 else ''})", "dim"))
        for index, item in enumerate(value):
            _add(branch, Text(f"[{index}]", "cyan"), item)
    else:
        tree.add(label + Text(": ", "dim") + Text(as_json(value), "" if isinstance(value, str) else "magenta"))


def _ago(when: datetime, now: datetime) -> str:
    return f"{long_moment(when)}, {short_span(now - when)} ago"


def _ahead(when: datetime, now: datetime) -> str:
    return f"{long_moment(when)}, in {short_span(when - now)}"
