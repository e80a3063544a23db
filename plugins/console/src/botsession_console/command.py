"""The command `botsession`."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from botsession_console.exits import INTERRUPTED, OutputError, give_up_output, report, say

_logger = logging.getLogger("botsession.console")

EPILOG = """\
exit codes:
  0    all went well
  1    the store failed; or a driver is broken (drivers); or a line of a pipe or file failed (console)
  2    the command line, the configuration or a driver is at fault
  130  ended by Ctrl-C
"""

CONSOLE = """\
Talk to a bot in the terminal. Each line is one turn: the session is saved when the bot has answered.

The bot is module:bot, imported from the working directory or the import path: a ConsoleBot, or a handler
`async def handler(context)`. Without one a small bot answers that counts messages and remembers your name.
"""

CONSOLE_EPILOG = """\
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

NEW_DRIVER = """\
Write the package botsession-NAME: a driver on a stand-in for your backend, whose tests pass as they are.
Put the real client in the place of the stand-in (src/botsession_NAME/backend.py), and keep the tests passing.
Nothing is overwritten.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        shown = re.sub(r"://[^\s/]*@", "://***@", message)
        self.exit(2, f"botsession: {shown}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command line without the program's name; that of the process where `None`.

    Returns:
        The exit code.
    """
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        return give_up_output(error.reason)
    except OSError as error:  # argparse has left its help in the buffer
        return give_up_output(error)


def _run(arguments: Sequence[str] | None) -> int:
    parsed = _parser().parse_args(arguments)
    from botsession_console.failures import describe, exit_code

    try:
        return {"console": _console, "drivers": _drivers, "new-driver": _new_driver}[parsed.command](parsed)
    except OutputError:
        raise
    except Exception as error:
        _logger.debug("the command failed", exc_info=error)
        report(describe(error))
        return exit_code(error)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="botsession",
        description="Conversation sessions for bots and agents, on any backend, with no lost turns.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    console = commands.add_parser(
        "console",
        help="talk to a bot in the terminal",
        description=CONSOLE,
        epilog=CONSOLE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    console.add_argument("bot", nargs="?", metavar="module:bot", help="the bot; a small built-in one if left out")
    console.add_argument("--driver", metavar="NAME", help="keep sessions with this driver (see: botsession drivers)")
    console.add_argument("--url", metavar="URL", help="keep sessions there, such as redis://localhost:6379")
    console.add_argument(
        "--expires-in", metavar="MINUTES", help='minutes after which a session ends, or "never"; one year by default'
    )
    console.add_argument("--config", metavar="PATH", help="the configuration file, instead of looking for one")
    console.add_argument("--platform", metavar="NAME", help="first part of the session id; console by default")
    console.add_argument("--user", metavar="NAME", help="second part of the session id; 1 by default")
    commands.add_parser(
        "drivers",
        help="list the installed drivers",
        description="List the installed drivers, with what each can do. The exit code is 1 if one of them is broken.",
        allow_abbrev=False,
    )
    new = commands.add_parser(
        "new-driver",
        help="write the package of a new driver, to be filled in",
        description=NEW_DRIVER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    new.add_argument("name", metavar="NAME", help="what users will choose the driver by, such as somedb")
    new.add_argument(
        "--directory", metavar="DIR", default=".", help="where to put the folder; the working directory by default"
    )
    return parser


class _Version(argparse.Action):
    """Looks the versions up only when they are asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="show the versions and end")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        packages = ("botsession-console", "botsession-core")
        python = ".".join(map(str, sys.version_info[:3]))
        say(", ".join([*(f"{name} {version(name)}" for name in packages), f"Python {python}"]) + "\n")
        parser.exit()


def _console(parsed: argparse.Namespace) -> int:
    from botsession.config import UNSET
    from botsession.ids import check_session_id
    from botsession_console.backend import choose_backend
    from botsession_console.conversation import run
    from botsession_console.greeter import make_greeter
    from botsession_console.target import load_bot

    expires_in = UNSET if parsed.expires_in is None else _minutes(parsed.expires_in)
    bot = make_greeter() if parsed.bot is None else load_bot(parsed.bot)
    if parsed.platform is not None:
        bot.platform = parsed.platform
    if parsed.user is not None:
        bot.user = parsed.user
    check_session_id(bot.session_id)
    choose_backend(bot, driver=parsed.driver, url=parsed.url, expires_in=expires_in, config=parsed.config)
    return run(bot)


def _minutes(text: str) -> float | None:
    from botsession import ConfigError
    from botsession.lifetime import check_minutes

    if text == "never":
        return None
    try:
        minutes = float(text)
        check_minutes(minutes)
    except (ValueError, ConfigError):
        raise ConfigError(f'--expires-in: a number of minutes above zero, or "never"; got {text!r}') from None
    return minutes


def _drivers(_: argparse.Namespace) -> int:
    from botsession_console.inventory import installed, table

    rows = installed()
    lines = table(rows) if rows else ["no driver is installed; begin with: pip install botsession-memory"]
    say("\n".join(lines) + "\n")
    return 1 if any(row.broken for row in rows) else 0


def _new_driver(parsed: argparse.Namespace) -> int:
    from botsession_console.new_driver.scaffold import new_driver

    say(new_driver(parsed.name, parsed.directory) + "\n")
    return 0
