"""Bots in the terminal: `ConsoleBot`, and the command `botsession`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botsession_console.bot import ConsoleBot
    from botsession_console.context import Context
    from botsession_console.events import Event

__all__ = ["ConsoleBot", "Context", "Event"]


def __getattr__(name: str) -> object:
    # Nothing is imported before it is asked for, so that `botsession --help` answers at once.
    if name == "ConsoleBot":
        from botsession_console.bot import ConsoleBot

        return ConsoleBot
    if name == "Context":
        from botsession_console.context import Context

        return Context
    if name == "Event":
        from botsession_console.events import Event

        return Event
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
