"""`botsession new-driver`: create the package of a new driver."""

from __future__ import annotations

import argparse

from botsession_console.exits import say
from botsession_console.new_driver.scaffold import new_driver

DESCRIPTION = """\
Create the package botsession-NAME: a driver for a stand-in of your backend, whose tests pass.
Replace the stand-in (src/botsession_NAME/backend.py) by the real client, and keep the tests passing.
Nothing is overwritten.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("name", metavar="NAME", help="the name by which users choose the driver, such as somedb")
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default=".",
        help="the parent directory of the package; by default the working directory",
    )


def run(parsed: argparse.Namespace) -> int:
    """Create the package."""
    say(new_driver(parsed.name, parsed.directory) + "\n")
    return 0
