"""Fixtures that run the command with pipes or in a pseudo-terminal."""

from __future__ import annotations

import os
import pathlib
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from forked import run_command

COMMAND = (sys.executable, "-m", "botsession_console")
PATIENCE_SECONDS = 20

BOT = '''\
import asyncio
import sys
import time

from botsession_console import ConsoleBot

bot = ConsoleBot("memory", initial_state={"count": 0})


@bot.on_event
async def answer(context):
    """Counts, and does what the text says."""
    text = context.event.text
    context.state["count"] += 1
    if text == "sleep":
        await context.send_text("sleeping")
        await asyncio.sleep(60)
    if text == "block":
        await context.send_text("blocking")
        time.sleep(60)
    if text == "fail":
        raise ValueError("two\\nlines")
    if text == "leave":
        sys.exit(7)
    if text == "later":
        asyncio.get_running_loop().call_later(0.1, lambda: print("from the background", flush=True))
    await context.send_text(f"{text} {context.state['count']}")


async def handler(context):
    await context.send_text(f"{context.session.id} heard {context.event.text}")


def takes_nothing():
    pass


number = 5
'''


class Terminal:
    """A process in a pseudo-terminal, with the text on its screen."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, modes: list[object]) -> None:
        self.process = process
        self.master = master
        self.modes_before = self.modes()
        self.modes_before = modes
        self.screen = ""
        self._seen = 0

    def wait_for(self, text: str, *, consume: bool = True) -> str:
        """Wait for a text, and return the new output up to its end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (place := self.screen.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.screen[self._seen :]!r}"
            assert self._read(), f"it ended without {text!r}: {self.screen!r}"
        shown = self.screen[self._seen : place + len(text)]
        if consume:
            self._seen = place + len(text)
        return shown

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def say(self, text: str) -> None:
        """Type a line at the prompt."""
        self.wait_for("You > ")
        self.type(f"{text}\n")

    def end(self) -> int:
        """Wait for the process to end, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], PATIENCE_SECONDS)
        assert ready, f"nothing happens any more after {self.screen!r}"
        try:
            data = os.read(self.master, 4096)
        except OSError:  # the other side is closed
            return False
        self.screen += data.decode().replace("\r\n", "\n")
        return bool(data)


Run = Callable[..., "subprocess.CompletedProcess[str]"]
OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """The working directory of the command, which contains the module `mybot`."""
    (tmp_path / "mybot.py").write_text(BOT)
    return tmp_path


@pytest.fixture
def environment(folder: pathlib.Path) -> dict[str, str]:
    ours = ("BOTSESSION_", "PYTHON", "COLUMNS", "LINES")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "HOME": str(folder), "TERM": "dumb", "INPUTRC": os.devnull}


@pytest.fixture
def run(folder: pathlib.Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command to its end, with `lines` as its standard input.

    A different command, or one with `PYTHON*` variables, starts a new interpreter instead of a fork.
    """

    def run(*arguments: str, lines: str | bytes = "", command=COMMAND, **variables: str):
        given = lines.encode() if isinstance(lines, str) else lines
        everything = {**environment, **variables}
        if command is COMMAND and not any(name.startswith("PYTHON") for name in variables):
            done = run_command(arguments, given, folder, everything, tmp_path_factory.mktemp("streams"))
        else:
            done = subprocess.run(
                [*command, *arguments],
                input=given,
                capture_output=True,
                cwd=folder,
                env=everything,
                timeout=60,
                check=False,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def open_terminal(folder: pathlib.Path, environment: dict[str, str]) -> Iterator[OpenTerminal]:
    """Start the command in a pseudo-terminal, and wait until it shows `ready`."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, ready: str = "You > ", columns: int = 80, **variables: str) -> Terminal:
        master, slave = pty.openpty()
        termios.tcsetwinsize(master, (24, columns))
        modes = termios.tcgetattr(master)
        # The first terminal that a session leader opens becomes its controlling terminal, where Ctrl-C sends a signal.
        shell = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(slave)]
        process = subprocess.Popen(
            [*shell, *COMMAND, *arguments], cwd=folder, env={**environment, **variables}, start_new_session=True
        )
        opened.append(Terminal(process, master, modes))
        opened[-1].wait_for(ready, consume=False)
        os.close(slave)
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
