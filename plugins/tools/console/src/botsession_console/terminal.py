"""The terminal: lines from standard input, answers to standard output.

A thread reads the input, so that the event loop keeps running and receives Ctrl-C. It is a daemon thread, so that it does
not keep the process alive if the conversation ends while it waits for a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from typing import Final, TextIO

from botsession_console.exits import say

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]  # the module's absence

try:
    import readline  # input() then has line editing and a history
except ImportError:  # Windows, and minimal builds of Python
    readline = None  # type: ignore[assignment]  # the module's absence

PROMPT: Final = "You > "


class Terminal:
    """Standard input and output.

    Attributes:
        interactive: Whether both input and output are a terminal.
    """

    def __init__(self) -> None:
        self.interactive: Final = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
        self._input = _Input(sys.stdin)
        self._modes = termios.tcgetattr(0) if self.interactive and termios is not None else None
        self._prompting = False

    def read(self) -> asyncio.Future[str]:
        """Start reading a line; show the prompt if interactive.

        Returns:
            A future of the line without its line ending. It may fail with `EOFError`, or with `UnicodeError` if the line is
            not UTF-8, after which the next line can be read.
        """
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()
        self._prompting = self.interactive
        threading.Thread(target=self._read_into, args=(line, loop), name="botsession-input", daemon=True).start()
        return line

    def answer(self, text: str) -> None:
        """Show an answer of the bot."""
        self._write(f"Bot > {text}")

    def show(self, value: object) -> None:
        """Show a value as one line of JSON."""
        self._write(json.dumps(value, ensure_ascii=False))

    def note(self, text: str) -> None:
        """Show a remark, if interactive."""
        if self.interactive:
            self._write(text)

    def leave_prompt(self) -> None:
        """End the line of an unanswered prompt, and restore the modes of the terminal."""
        if self._modes is not None:
            # The thread may still be waiting in readline, which changes them.
            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        self._prompting = False
        self.note("")

    def _write(self, text: str) -> None:
        say(f"\n{text}\n{PROMPT}" if self._prompting else f"{text}\n")

    def _read_into(self, line: asyncio.Future[str], loop: asyncio.AbstractEventLoop) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        outcome: str | Exception
        try:
            outcome = self._read_line()
        except Exception as error:  # noqa: BLE001 - raised where the line is awaited
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._settle, line, outcome)

    def _settle(self, line: asyncio.Future[str], outcome: str | Exception) -> None:
        if line.done():
            return
        self._prompting = False
        if isinstance(outcome, Exception):
            line.set_exception(outcome)
        else:
            line.set_result(outcome)

    def _read_line(self) -> str:
        if not self.interactive:
            return self._input.read_line()
        if readline is None:
            say(PROMPT)
            return self._input.read_line()
        line = input(PROMPT)
        line.encode()  # bytes that are not UTF-8 may have become lone surrogates
        return line


class _Input:
    """Lines from a file descriptor.

    It does not use `sys.stdin`, whose lock a waiting thread would hold, which makes Python abort on exit.
    """

    def __init__(self, stdin: TextIO | None) -> None:
        self._descriptor = None if stdin is None else stdin.fileno()
        self._rest = b""

    def read_line(self) -> str:
        while b"\n" not in self._rest:
            chunk = b"" if self._descriptor is None else os.read(self._descriptor, 65_536)
            if not chunk:
                break
            self._rest += chunk
        if not self._rest:
            raise EOFError
        line, _, self._rest = self._rest.partition(b"\n")
        return line.removesuffix(b"\r").decode()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
