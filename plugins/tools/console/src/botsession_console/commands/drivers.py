"""`botsession drivers`: list the installed drivers."""

from __future__ import annotations

import argparse

from botsession_console.exits import FAILED, say
from botsession_console.inventory import installed, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = (
        "List the installed drivers, with what each can do. The exit code is 1 if one of them is broken."
    )


def run(_: argparse.Namespace) -> int:
    """Shows the drivers."""
    rows = installed()
    lines = table(rows) if rows else ["no driver is installed; begin with: pip install botsession-memory"]
    say("\n".join(lines) + "\n")
    return FAILED if any(row.broken for row in rows) else 0
