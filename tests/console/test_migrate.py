"""`botsession migrate` as a command: its output in a pipe and in a terminal."""

from __future__ import annotations

import re

import pytest
from console import filled

MISCONFIGURED, INTERRUPTED = 2, 130
FROM, TO = "file://from", "file://to"


@pytest.fixture
def three(run):
    for user in "abc":
        assert run("console", "--url", FROM, "--user", user, lines="hi\n").returncode == 0


def test_it_says_what_became_of_all(run, three):
    rest = "0 gone, 0 unreadable, 0 failed)\n"
    for options, said in (
        (["--dry-run"], f"would copy 3 sessions (0 already existed, {rest}"),
        (["--prefix", "console:a"], f"copied 1 session (0 already existed, {rest}"),
        ([], f"copied 2 sessions (1 already existed, {rest}"),
        (["--hand-over"], "handed over 3 sessions (0 already handed over, 0 unreadable, 0 failed)\n"),
        (["--hand-over"], "handed over 0 sessions (3 already handed over, 0 unreadable, 0 failed)\n"),
    ):
        done = run("migrate", FROM, TO, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert run("console", "--url", TO, "--user", "a", lines="/state\n").stdout.endswith('{"count": 1, "name": null}\n')


def test_what_cannot_be_done_is_one_line(run, three):
    for arguments, reason in (
        ([FROM, FROM], "FROM and TO are the same store"),
        ([FROM, TO, "--rate", "0"], "--rate must be a number of sessions per second above zero"),
        ([FROM, TO, "--rate", "inf"], "--rate must be a number of sessions per second above zero"),
        ([FROM, TO, "--hand-over", "--dry-run"], "--hand-over cannot be combined with --dry-run or --rate"),
        ([FROM, "nonsense"], "no driver 'nonsense' is installed"),
    ):
        done = run("migrate", *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (MISCONFIGURED, "", 1)
        assert reason in done.stderr


@pytest.mark.parametrize("columns", [40, 120])
@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_a_bar_moves_and_ctrl_c_says_how_far_it_came(open_terminal, run, folder, columns, colour):
    filled.fill(folder, 700)
    moving = ("migrate", "file", TO, "--rate", "100")
    terminal = open_terminal(*moving, ready="100/700", columns=columns, TERM="xterm-256color", **colour)
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", terminal.screen)) is not bool(colour)
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", terminal.screen).split())
    assert re.search(r"copied [1-6]00 sessions", said)
    assert "Repeat it to continue" in said
    done = run("migrate", "file", TO)
    assert re.match(r"copied [1-6]00 sessions \([1-6]00 already existed", done.stdout)
