"""`botsession console`: talk to a bot in the terminal."""

from __future__ import annotations

import argparse

from botsession.ids import check_session_id
from botsession_console.backend import add_backend_options, choose_backend
from botsession_console.conversation import run as converse
from botsession_console.greeter import make_greeter
from botsession_console.target import load_bot

DESCRIPTION = """\
Talk to a bot in the terminal. Each line is one turn: the session is saved when the bot has answered.

The bot is module:bot, imported from the working directory or the import path: a ConsoleBot, or a handler
`async def handler(context)`. Without one a small bot answers that counts messages and remembers your name.
"""

EPILOG = """\
while talking:
  /state        show the stored state as JSON
  /session      show the stored session as JSON
  /payload X    send the payload X, as a button does
  /quit, /exit  end; so does Ctrl-D
  Ctrl-C        cancel the turn that is running; at the prompt, end

The backend is what the options say, else what the bot itself says, else the environment (BOTSESSION_DRIVER,
BOTSESSION_URL, BOTSESSION_EXPIRES_IN), else the configuration file, else memory. Everybody on the machine can see
a password on the command line: put it into BOTSESSION_URL.

examples:
  botsession console --driver file
  botsession console mybot:bot --user 42
  printf 'hello\\n/state\\n' | botsession console mybot:bot
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.add_argument("bot", nargs="?", metavar="module:bot", help="the bot; a small built-in one if left out")
    add_backend_options(parser)
    parser.add_argument("--platform", metavar="NAME", help="first part of the session id; console by default")
    parser.add_argument("--user", metavar="NAME", help="second part of the session id; 1 by default")


def run(parsed: argparse.Namespace) -> int:
    """Talks until the end of the conversation."""
    bot = make_greeter() if parsed.bot is None else load_bot(parsed.bot)
    if parsed.platform is not None:
        bot.platform = parsed.platform
    if parsed.user is not None:
        bot.user = parsed.user
    check_session_id(bot.session_id)
    choose_backend(bot, parsed)
    return converse(bot)
