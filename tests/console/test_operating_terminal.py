"""The commands on sessions in a terminal: colours, a narrow window, prompts, Ctrl-C."""

from __future__ import annotations

import re
import sys

import pytest
from console import filled
from console.filled import DRIVER

from botsession import Session
from botsession_console.exits import FAILED, INTERRUPTED

XTERM = {"TERM": "xterm-256color"}
STYLE = re.compile(r"\x1b\[[0-9;]*m")
LONG = "telegram:" + "0123456789" * 5


@pytest.fixture
def some(folder):
    filled.write(folder, Session("telegram:1", {"count": 1}), Session(LONG, {"text": "word " * 30}))


def plain(text):
    return STYLE.sub("", text)


def test_a_list_in_a_terminal(open_terminal, some):
    terminal = open_terminal("list", *DRIVER, ready="AGE", columns=120, **XTERM)
    assert terminal.end() == 0
    assert STYLE.search(terminal.screen)
    lines = [line.rstrip() for line in plain(terminal.screen).splitlines()]
    assert lines[0] == "  AGE   IDLE  EXPIRES     SIZE  ID"
    assert [line.split()[-1] for line in lines[1:] if "telegram" in line] in (
        [LONG, "telegram:1"],
        ["telegram:1", LONG],
    )


@pytest.mark.parametrize("arguments", [["list"], ["list", "--sort", "id"], ["show", "telegram:1"], ["stats"]])
def test_no_color(open_terminal, some, arguments):
    terminal = open_terminal(*arguments, *DRIVER, ready="telegram:", NO_COLOR="1", **XTERM)
    assert terminal.end() == 0
    assert not STYLE.search(terminal.screen)


@pytest.mark.parametrize("arguments", [["list"], ["list", "--sort", "id"], ["show", LONG], ["stats"]])
def test_a_pipe_gets_no_escape_codes_and_whole_lines(run, some, arguments):
    done = run(*arguments, *DRIVER, COLUMNS="30", **XTERM)
    assert "\x1b" not in done.stdout + done.stderr
    assert LONG in done.stdout


@pytest.mark.parametrize("arguments", [["list"], ["show", LONG], ["stats"]])
@pytest.mark.parametrize("columns", [30, 50])
def test_a_narrow_window(open_terminal, some, arguments, columns):
    terminal = open_terminal(*arguments, *DRIVER, ready=":", columns=columns, **XTERM)
    assert terminal.end() == 0
    lines = re.sub(
        r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.screen
    ).splitlines()  # splits at "\r" too, so each state of a progress line counts
    assert max(map(len, lines)) <= columns
    # Nothing is truncated: the long id is complete, wrapped over several lines.
    assert LONG in "".join("".join(lines).replace("│", "").split())


def test_a_narrow_list_has_fewer_columns(open_terminal, some):
    terminal = open_terminal("list", *DRIVER, ready="ID", columns=50, **XTERM)
    terminal.end()
    assert plain(terminal.screen).splitlines()[0].split() == ["IDLE", "EXPIRES", "ID"]


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", FAILED), ("", FAILED), ("\x04", FAILED)])
def test_delete_asks(open_terminal, folder, some, answer, code):
    terminal = open_terminal("delete", *DRIVER, "--prefix", "telegram:1", ready="for good? [y/N]")
    assert "1 session: telegram:1\n" in terminal.screen
    terminal.type("what?\n")
    terminal.wait_for("what?")
    terminal.wait_for("for good? [y/N]")
    terminal.type(answer if answer == "\x04" else f"{answer}\n")
    assert terminal.end() == code
    assert ("deleted 1 session" if code == 0 else "nothing was deleted") in terminal.screen
    assert (filled.read(folder, "telegram:1") is None) is (code == 0)


def test_ctrl_c_at_the_question(open_terminal, folder, some):
    terminal = open_terminal("delete", *DRIVER, "telegram:1", ready="for good? [y/N]")
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen
    assert filled.read(folder, "telegram:1") is not None


@pytest.fixture
def slow(folder):
    """Two hundred sessions in a slow store."""
    filled.fill(folder, 200)
    (folder / "stores.py").write_text(
        "import asyncio\n"
        "from botsession_file import FileSessionStore\n"
        "class Slow(FileSessionStore):\n"
        "    async def scan(self, prefix='', *, after=None, limit=None):\n"
        "        await asyncio.sleep(0.05)\n"
        "        return await super().scan(prefix, after=after, limit=10)\n"
        "    async def commit(self, steps):\n"
        "        await asyncio.sleep(0.05)\n"
        "        return await super().commit(steps)\n"
    )
    return ("--driver", "stores:Slow")


def test_ctrl_c_while_deleting(open_terminal, folder, slow):
    terminal = open_terminal("delete", *slow, "--prefix", "telegram:", "--yes", ready="200 sessions: ", **XTERM)
    terminal.wait_for("deleted 10 of 200")
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen
    told = int(re.search(r"botsession: deleted ([0-9]+) sessions before the command stopped", terminal.screen)[1])
    left = len(list(folder.glob(".sessions/??/*.json")))
    assert 0 < left <= 200 - told < 200
    assert terminal.screen.count("\x1b[?25l") == terminal.screen.count("\x1b[?25h"), "the cursor is hidden"


@pytest.mark.parametrize(
    ("arguments", "ready"), [(["list"], "telegram:"), (["list", "--sort", "id"], "found 0"), (["stats"], "counted 0")]
)
def test_ctrl_c_while_looking(open_terminal, slow, arguments, ready):
    terminal = open_terminal(*arguments, *slow, ready=ready, **XTERM)
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen


def test_watch_in_a_terminal(open_terminal, folder, some):
    terminal = open_terminal("watch", "telegram:1", *DRIVER, "--interval", "0.02", ready='{"count": 1}')
    filled.change(folder, "telegram:1", lambda state: state.update(count=2))
    terminal.wait_for("$.state.count: 1 -> 2")
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.screen


EDITOR = """\
import pathlib, sys, time
file = pathlib.Path(sys.argv[1])
print("editing", flush=True)
line = input()
if line == "slowly":
    try:
        print("sleeping", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted, and goes on", flush=True)
        line = input()
file.write_text(line)
"""


@pytest.fixture
def edit(open_terminal, folder, some):
    (folder / "editor.py").write_text(EDITOR)
    return lambda: open_terminal(
        "edit", "telegram:1", *DRIVER, ready="editing\n", VISUAL=f"{sys.executable} editor.py", TMPDIR=str(folder)
    )


def test_edit_again(edit, folder):
    terminal = edit()
    terminal.type("{oops\n")
    terminal.wait_for("cannot save this: cannot read it: Expecting property name")
    terminal.wait_for("Edit again? [Y/n]")
    terminal.type("\n")
    terminal.wait_for("editing\n")
    terminal.type('{"state": {"count": 5}, "user": null}\n')
    assert terminal.end() == 0
    assert "saved telegram:1" in terminal.screen
    assert filled.read(folder, "telegram:1").state == {"count": 5}
    assert list(folder.glob("botsession-*.json")) == []


@pytest.mark.parametrize(("answer", "code"), [("n\n", FAILED), ("\x03", INTERRUPTED)])
def test_edit_no_more(edit, folder, answer, code):
    terminal = edit()
    terminal.type("{oops\n")
    terminal.wait_for("Edit again? [Y/n]")
    terminal.type(answer)
    assert terminal.end() == code
    assert "Your edit is kept in" in terminal.screen
    assert "Traceback" not in terminal.screen
    (kept,) = folder.glob("botsession-*.json")
    assert kept.read_text() == "{oops"


def test_ctrl_c_in_the_editor_is_the_editors(edit, folder):
    terminal = edit()
    terminal.type("slowly\n")
    terminal.wait_for("sleeping")
    terminal.type("\x03")
    terminal.wait_for("interrupted, and goes on")
    terminal.type('{"state": {}, "user": null}\n')
    assert terminal.end() == 0
    assert filled.read(folder, "telegram:1").state == {}
