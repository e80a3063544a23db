"""The two ends of a conversation: lines from standard input, answers to standard output.

Reading happens in a thread of its own, so that the event loop goes on meanwhile and Ctrl-C reaches it. The thread is a
daemon: where the conversation ends while it still waits for a line, it must not hold up the end of the process.
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
    import readline  # input() then edits lines and remembers them
except ImportError:  # Windows, and minimal builds of Python
    readline = None  # type: ignore[assignment]  # the module's absence

PROMPT: Final = "You > "


class Terminal:
    """Standard input and output.

    Attributes:
        interactive: Whether a person sits there: both ends are a terminal.
    """

    def __init__(self) -> None:
        self.interactive: Final = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
        self._input = _Input(sys.stdin)
        self._modes = termios.tcgetattr(0) if self.interactive and termios is not None else None
        self._prompting = False

    def read(self) -> asyncio.Future[str]:
        """Begins to read a line; shows the prompt to a person.

        Returns:
            A future of the line without its end. It may fail with `EOFError`, or with `UnicodeError` where the line is
            not UTF-8; the next line can be read then.
        """
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()
        self._prompting = self.interactive
        threading.Thread(target=self._read_into, args=(line, loop), name="botsession-input", daemon=True).start()
        return line

    def answer(self, text: str) -> None:
        """Shows an answer of the bot."""
        self._write(f"Bot > {text}")

    def show(self, value: object) -> None:
        """Shows a value as JSON, on one line."""
        self._write(json.dumps(value, ensure_ascii=False))

    def note(self, text: str) -> None:
        """Shows a remark to a person; a script gets none."""
        if self.interactive:
            self._write(text)

    def leave_prompt(self) -> None:
        """Ends the line of a prompt that got no answer, and makes the terminal usable for whoever comes next."""
        if self._modes is not None:
            # The thread may still wait inside of readline, which has changed them.
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
        except Exception as error:  # noqa: BLE001 - it is raised where the line is awaited
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
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
        line.encode()  # bytes that are no UTF-8 may have become lone surrogates
        return line


class _Input:
    """Lines from a file descriptor.

    Not from `sys.stdin`, whose lock a thread that still waits would hold, for which Python aborts at its end.
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
