"""Exit codes, output, the one-line error report, and a closed output."""

from __future__ import annotations

import contextlib
import os
import sys

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130
"""What a shell reports for a program ended by Ctrl-C."""
OUTPUT_CLOSED = 141
"""What a shell reports for a program that wrote to a closed pipe."""


class OutputError(Exception):
    """Standard output cannot be written.

    Attributes:
        reason: The error of the operating system.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"the output cannot be written: {reason.strerror}")
        self.reason = reason


def say(text: str) -> None:
    """Write to standard output immediately; characters that its encoding lacks are escaped.

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
    """Write bytes to standard output immediately.

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
    """Write one line to standard error."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(" ".join(f"botsession: {message}".split()) + "\n")
        sys.stderr.flush()


def give_up_output(error: OSError) -> int:
    """Stop using a standard output that cannot be written, and report why unless it is a closed pipe.

    The buffer is discarded, so that Python does not report the error again when it exits.

    Returns:
        The exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return OUTPUT_CLOSED
    report(f"the output cannot be written: {error.strerror}")
    return FAILED
