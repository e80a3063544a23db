"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

from botsession import ConfigError


def can_ask() -> bool:
    """Tells whether a person sits there."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, *, default: bool = False) -> bool:
    """Asks a question on standard error, and returns whether the answer is yes; what ends the input means no."""
    while True:
        sys.stderr.write(f"{question} [{'Y/n' if default else 'y/N'}] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if not line:
            sys.stderr.write("\n")
            return False
        if answer in ("", "y", "yes", "n", "no"):
            return answer.startswith("y") or (default and not answer)


def check_confirmed(question: str, *, yes: bool) -> bool:
    """Returns whether to go on: `--yes` was given, or the person says so.

    Raises:
        ConfigError: Nobody is there to ask.
    """
    if yes:
        return True
    if not can_ask():
        raise ConfigError("nobody is at a terminal to confirm this; add --yes")
    return confirm(question)
