"""`botsession new-driver`: write the package of a new driver."""

from __future__ import annotations

import argparse

from botsession_console.exits import say
from botsession_console.new_driver.scaffold import new_driver

DESCRIPTION = """\
Write the package botsession-NAME: a driver on a stand-in for your backend, whose tests pass as they are.
Put the real client in the place of the stand-in (src/botsession_NAME/backend.py), and keep the tests passing.
Nothing is overwritten.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.add_argument("name", metavar="NAME", help="what users will choose the driver by, such as somedb")
    parser.add_argument(
        "--directory", metavar="DIR", default=".", help="where to put the folder; the working directory by default"
    )


def run(parsed: argparse.Namespace) -> int:
    """Writes the package."""
    say(new_driver(parsed.name, parsed.directory) + "\n")
    return 0
