"""The bot of `botsession console` without a bot: it shows what a session remembers."""

from __future__ import annotations

import re
from typing import Any

from botsession_console.bot import ConsoleBot
from botsession_console.context import Context

_NAME = re.compile(r"(?:call me|my name is)\s+(?P<name>\S.*?)[\s.!]*", re.IGNORECASE)
_FORGET = re.compile(r"forget me[\s.!]*", re.IGNORECASE)


def make_greeter() -> ConsoleBot:
    """Returns a bot that counts messages and remembers a name."""
    bot = ConsoleBot(initial_state={"count": 0, "name": None})
    bot.on_event(greet)
    return bot


async def greet(context: Context[dict[str, Any]]) -> None:
    """Answers one message."""
    text = context.event.text.strip()
    if _FORGET.fullmatch(text):
        context.reset_state()
        await context.send_text("It is all forgotten.")
        return
    before = context.state.get("count")
    count = before + 1 if isinstance(before, int) else 1
    context.set_state({"count": count})
    if count == 1:
        await context.send_text(
            'Hello! I count your messages and remember your name: say "call me Ada", and later "forget me". '
            "/state shows what I remember, /quit ends."
        )
    if context.event.payload is not None:
        await context.send_text(f"You sent the payload {context.event.payload!r}.")
    if named := _NAME.fullmatch(text):
        context.set_state({"name": named["name"]})
        await context.send_text(f"Nice to meet you, {named['name']}.")
    name = context.state.get("name")
    await context.send_text(f"{name}, this is your message {count}." if name else f"This is your message {count}.")
