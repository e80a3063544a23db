"""How the program ends: exit codes, the one line on stderr, and an output that nobody reads."""

from __future__ import annotations

import contextlib
import os
import sys

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130
"""What shells report of a program that Ctrl-C ended."""
OUTPUT_CLOSED = 141
"""What shells report of a program that wrote to a pipe which nobody reads."""


class OutputError(Exception):
    """Something could not be written to standard output.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"the output cannot be written: {reason.strerror}")
        self.reason = reason


def say(text: str) -> None:
    """Writes to standard output, at once; what its encoding does not have is escaped.

    Raises:
        OutputError: It cannot be written.
    """
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error) from error


def say_bytes(raw: bytes) -> None:
    """Writes bytes to standard output as they are, at once.

    Raises:
        OutputError: They cannot be written.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(error) from error


def report(message: str) -> None:
    """Says something in one line on stderr."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(" ".join(f"botsession: {message}".split()) + "\n")
        sys.stderr.flush()


def give_up_output(error: OSError) -> int:
    """Ends the use of a standard output that cannot be written; says why, unless nobody reads it any more.

    What is still buffered vanishes, so that Python does not complain of it at its end.

    Returns:
        The exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return OUTPUT_CLOSED
    report(f"the output cannot be written: {error.strerror}")
    return FAILED
