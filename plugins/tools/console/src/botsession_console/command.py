"""The command `botsession`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from botsession_console.exits import INTERRUPTED, OutputError, give_up_output, report, say

_logger = logging.getLogger("botsession.console")

COMMANDS = {
    "console": ("console", "talk to a bot in the terminal"),
    "delete": ("delete", "delete sessions for good"),
    "doctor": ("doctor", "check the setup, and report what would lose sessions"),
    "drivers": ("drivers", "list the installed drivers"),
    "edit": ("edit", "edit a session by hand"),
    "export": ("exports", "write all sessions to a file"),
    "import": ("imports", "store the sessions of an export"),
    "list": ("list", "list sessions"),
    "migrate": ("migrate", "copy all sessions of a store to another one"),
    "new-driver": ("new_driver", "create the package of a new driver"),
    "purge": ("purge", "remove expired sessions"),
    "recover": ("recover", "quarantine unreadable sessions"),
    "show": ("show", "show one session"),
    "stats": ("stats", "count sessions: how many, how large, how busy"),
    "watch": ("watch", "watch a session change"),
}
"""The module in `botsession_console.commands` and the summary of each command."""

EPILOG = """\
exit codes:
  0    success
  1    the store failed, or the command could not do all of its work; a driver is broken (drivers); a line from a pipe
       or a file failed (console)
  2    the command line, the configuration or a driver is invalid
  130  ended by Ctrl-C
  141  the output was closed, as by | head
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        shown = re.sub(r"://[^\s/]*@", "://***@", message)
        self.exit(2, f"botsession: {shown} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line without the program's name; by default that of the process.

    Returns:
        The exit code.
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        return give_up_output(error.reason)
    except OSError as error:  # argparse left its help in the buffer
        return give_up_output(error)


def _run(arguments: Sequence[str]) -> int:
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    module: Any = None
    if chosen in COMMANDS:
        module = importlib.import_module(f"botsession_console.commands.{COMMANDS[chosen][0]}")
    parsed = _parser(chosen, module).parse_args(arguments)
    sys.path.append(os.getcwd())  # noqa: PTH109 - the import path holds strings; a driver may be the bot's own class
    from botsession_console.failures import describe, exit_code

    try:
        return int(module.run(parsed))
    except OutputError:
        raise
    except Exception as error:
        _logger.debug("the command failed", exc_info=error)
        report(describe(error))
        return exit_code(error)


def _parser(chosen: str, module: Any) -> argparse.ArgumentParser:
    """Return a parser with only the chosen command's arguments, so that no other command is imported."""
    parser = _Parser(
        prog="botsession",
        description="Conversation sessions for bots and agents, on any backend, with no lost turns.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        if name == chosen:
            module.add_arguments(command)
    return parser


class _Version(argparse.Action):
    """Looks up the versions only when they are requested."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="show the versions and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        packages = ("botsession-console", "botsession-core")
        python = ".".join(map(str, sys.version_info[:3]))
        say(", ".join([*(f"{name} {version(name)}" for name in packages), f"Python {python}"]) + "\n")
        parser.exit()
