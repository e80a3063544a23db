"""Export, import and migrate in a terminal: progress, a narrow window, no colour, Ctrl-C while they run."""

from __future__ import annotations

import re

import pytest
from console import filled
from console.filled import DRIVER

from botsession_console.exits import INTERRUPTED, MISCONFIGURED

XTERM = {"TERM": "xterm-256color"}
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
SLOW = """\
import asyncio
from botsession_file import FileSessionStore

class Slow(FileSessionStore):
    async def read_many(self, session_ids):
        await asyncio.sleep(0.1)
        return await super().read_many(session_ids)

    async def scan(self, prefix='', *, after=None, limit=None):
        return await super().scan(prefix, after=after, limit=10)
"""


@pytest.fixture
def many(folder):
    """Two hundred sessions, also in a slow store."""
    filled.fill(folder, 200)
    (folder / "stores.py").write_text(SLOW)


COMMANDS = {
    "export": (["export", "out.jsonl", "--driver", "stores:Slow"], "exported 10"),
    "migrate": (["migrate", "stores:Slow", "file://moved"], "/200"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_in_the_middle_and_again(open_terminal, run, folder, many, command):
    arguments, progress = COMMANDS[command]
    terminal = open_terminal(*arguments, ready=progress, **XTERM)
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen
    assert terminal.screen.count("\x1b[?25l") == terminal.screen.count("\x1b[?25h"), "the cursor is hidden"
    assert not (folder / "out.jsonl").exists()
    assert not list(folder.glob(".*.part"))
    done = run(*arguments)
    assert done.returncode == 0
    assert "200 sessions" in done.stderr if command == "export" else "0 failed" in done.stdout
    if command == "migrate":
        assert len(list(folder.glob("moved/??/*.json"))) == 200


def test_ctrl_c_while_importing(open_terminal, run, folder, many):
    assert run("export", "out.jsonl", *DRIVER).returncode == 0
    lines = (folder / "out.jsonl").read_text().splitlines()
    (folder / "out.jsonl").write_text("\n".join([*lines[:-1], "no session"] * 40) + "\n" + lines[-1] + "\n")
    terminal = open_terminal("import", "out.jsonl", "--url", "file://moved", ready="line 202", **XTERM)
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen
    assert "before the import stopped. Repeat it to continue" in terminal.screen


@pytest.mark.parametrize("columns", [30, 60])
def test_a_narrow_window_and_no_colour(open_terminal, many, columns):
    arguments, progress = COMMANDS["migrate"]
    terminal = open_terminal(*arguments, ready="copied 200", columns=columns, NO_COLOR="1", **XTERM)
    assert terminal.end() == 0
    assert progress in terminal.screen
    assert not COLOUR.search(terminal.screen)


def test_a_pipe_gets_no_escape_codes(run, many):
    for arguments in (
        ["export", "-", *DRIVER],
        ["migrate", "file", "file://moved"],
        ["migrate", "file", "file://moved"],
    ):
        done = run(*arguments, **XTERM)
        assert done.returncode == 0
        assert not CODES.search(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate", "file", "file"], "the same store"),
        (["migrate", "file", "nosuch"], "no driver 'nosuch' is installed"),
        (["migrate", "file"], "arguments are required: TO"),
        (["migrate", "file", "memory", "--rate", "0"], "--rate must be a number of sessions per second"),
        (["import", "out.jsonl", "--skip-existing", "--overwrite", *DRIVER], "not allowed with"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, many, arguments, message):
    done = run(*arguments)
    assert done.returncode == MISCONFIGURED
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
