"""Bots in the terminal: `ConsoleBot`, and the command `botsession`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botsession_console.bot import ConsoleBot
    from botsession_console.context import Context, Event

__all__ = ["ConsoleBot", "Context", "Event"]


def __getattr__(name: str) -> object:
    # Imports are deferred so that `botsession --help` answers immediately.
    if name == "ConsoleBot":
        from botsession_console.bot import ConsoleBot

        return ConsoleBot
    if name in ("Context", "Event"):
        from botsession_console import context

        return getattr(context, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
