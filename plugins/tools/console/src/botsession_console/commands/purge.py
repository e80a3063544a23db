"""`botsession purge`: remove expired sessions."""

from __future__ import annotations

import argparse
import asyncio

from botsession import SupportsExpiry, SupportsPurge, UnsupportedError
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import say
from botsession_console.screen import counted
from botsession_operations.deletion import purge
from botsession_operations.mirror import MirrorSessionStore

DESCRIPTION = """\
Remove expired sessions, if the backend does not do so itself. They are absent for every bot anyway; this frees their space.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Remove expired sessions."""
    say(asyncio.run(_purge(parsed)) + "\n")
    return 0


async def _purge(parsed: argparse.Namespace) -> str:
    async with opened_store(parsed) as store:
        if isinstance(store, MirrorSessionStore):
            raise UnsupportedError(
                "a mirror cannot be purged", remedy="Purge each of its stores by itself, with --driver or --url."
            )
        if isinstance(store, SupportsExpiry) and not isinstance(store, SupportsPurge):
            return f"nothing to do: the backend of {type(store).__name__} removes expired sessions itself"
        removed = await purge(store)
    return f"removed {counted(removed, 'expired session')}"
