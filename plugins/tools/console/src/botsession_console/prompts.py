"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

from botsession import ConfigError


def can_ask() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask a yes-or-no question on standard error. The end of the input means no."""
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
    """Return whether to continue: `--yes` was given, or the person agrees.

    Raises:
        ConfigError: `--yes` was not given, and there is no terminal to ask at.
    """
    if yes:
        return True
    if not can_ask():
        raise ConfigError("cannot ask for confirmation without a terminal", remedy="Add --yes.")
    return confirm(question)
