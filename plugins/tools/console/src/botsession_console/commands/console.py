"""`botsession console`: talk to a bot in the terminal."""

from __future__ import annotations

import argparse
import re

from botsession.ids import check_session_id
from botsession_console.backend import add_backend_options, choose_backend
from botsession_console.bot import ConsoleBot
from botsession_console.context import Context
from botsession_console.conversation import run as converse
from botsession_console.target import load_bot

DESCRIPTION = """\
Talk to a bot in the terminal. Each line is one turn; the session is saved when the bot has answered.

The bot is module:bot, imported from the working directory or the import path. It is a ConsoleBot, or a handler
`async def handler(context)`. By default, a small built-in bot counts messages and remembers your name.
"""

EPILOG = """\
while talking:
  /state        show the stored state as JSON
  /session      show the stored session as JSON
  /payload X    send the payload X, as a button does
  /quit, /exit  end; so does Ctrl-D
  Ctrl-C        cancel the current turn; at the prompt, end

The backend options override the bot's own store, which overrides the environment (BOTSESSION_DRIVER, BOTSESSION_URL,
BOTSESSION_EXPIRES_IN), which overrides the configuration file. Without any of them it is memory. Everybody on the machine
can see a password on the command line; put it into BOTSESSION_URL.

examples:
  botsession console --driver file
  botsession console mybot:bot --user 42
  printf 'hello\\n/state\\n' | botsession console mybot:bot
"""

_NAME = re.compile(r"(?:call me|my name is)\s+(?P<name>\S.*?)[\s.!]*", re.IGNORECASE)
_FORGET = re.compile(r"forget me[\s.!]*", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.add_argument("bot", nargs="?", metavar="module:bot", help="the bot; by default a small built-in one")
    add_backend_options(parser)
    parser.add_argument("--platform", metavar="NAME", help="first part of the session id; console by default")
    parser.add_argument("--user", metavar="NAME", help="second part of the session id; 1 by default")


def run(parsed: argparse.Namespace) -> int:
    """Talk until the conversation ends."""
    if parsed.bot is None:
        bot = ConsoleBot(initial_state={"count": 0, "name": None})
        bot.on_event(greet)
    else:
        bot = load_bot(parsed.bot)
    if parsed.platform is not None:
        bot.platform = parsed.platform
    if parsed.user is not None:
        bot.user = parsed.user
    check_session_id(bot.session_id)
    choose_backend(bot, parsed)
    return converse(bot)


async def greet(context: Context) -> None:
    """Answer one message: the handler of the built-in bot, which shows what a session remembers."""
    text = context.event.text.strip()
    if _FORGET.fullmatch(text):
        context.reset_state()
        await context.send_text("I have forgotten everything.")
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
