"""`botsession recover`: quarantine unreadable sessions."""

from __future__ import annotations

import argparse
import asyncio

from botsession import SupportsQuarantine
from botsession.ids import check_session_id
from botsession.protocol import unsupported
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import say

DESCRIPTION = """\
Quarantine unreadable sessions, so that the user's next message starts a new one. The bytes are kept, and the command
prints where. Readable sessions are left alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("ids", nargs="+", metavar="ID", help="the session ids, such as telegram:42")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Quarantine the unreadable ones among the sessions."""
    for session_id in parsed.ids:
        check_session_id(session_id)
    asyncio.run(_recover(parsed))
    return 0


async def _recover(parsed: argparse.Namespace) -> None:
    async with opened_store(parsed) as store:
        if not isinstance(store, SupportsQuarantine):
            raise unsupported(store, "quarantine", "quarantine unreadable sessions")
        for session_id in parsed.ids:
            place = await store.quarantine(session_id)
            outcome = "nothing to do, it is absent or readable" if place is None else f"quarantined as {place}"
            say(f"{session_id}: {outcome}\n")
