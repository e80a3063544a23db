"""The command with a pipe or a file as standard input or output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from botsession_console.exits import INTERRUPTED, OUTPUT_CLOSED


def test_the_greeter_counts_and_remembers(run):
    done = run("console", lines="hi\ncall me Ada\nhi\nforget me\nhi\n")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Bot > Hello! I count your messages")
    assert lines[1:5] == [
        "Bot > This is your message 1.",
        "Bot > Nice to meet you, Ada.",
        "Bot > Ada, this is your message 2.",
        "Bot > Ada, this is your message 3.",
    ]
    assert lines[5] == "Bot > I have forgotten everything."
    assert lines[-1] == "Bot > This is your message 1."


def test_state_and_session_are_shown_as_json(run):
    done = run("console", "mybot:bot", lines="/state\n/session\nhi\n/state\n/session\n")
    state, session, answer, changed, stored = done.stdout.splitlines()
    assert json.loads(state) == {"count": 0}
    assert json.loads(session) is None
    assert answer == "Bot > hi 1"
    assert json.loads(changed) == {"count": 1}
    record = json.loads(stored)
    assert record["id"] == "console:1"
    assert record["state"] == {"count": 1}
    assert {"version", "created_at", "last_activity", "expires_at", "user"} <= record.keys()


def test_a_payload_is_no_text(run):
    done = run("console", lines="/payload BUY now\n")
    assert "Bot > You sent the payload 'BUY now'." in done.stdout.splitlines()


def test_other_commands_and_spaces_go_to_the_bot(run):
    done = run("console", "mybot:bot", lines="/foo\n  x \n\n   \n/payload\n/states\nlast")
    assert done.stdout == "Bot > /foo 1\nBot >   x  2\nBot > /payload 3\nBot > /states 4\nBot > last 5\n"


def test_quit_and_exit_end(run):
    for word in ("/quit", "/exit"):
        done = run("console", "mybot:bot", lines=f"a\n{word}\nb\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Bot > a 1\n", "")


def test_windows_line_ends(run):
    assert run("console", "mybot:bot", lines=b"a\r\n/quit\r\n").stdout == "Bot > a 1\n"


def test_a_failing_handler_saves_nothing_and_the_next_line_goes_on(run, folder):
    done = run("console", "mybot:bot", lines="fail\nhi\n")
    assert done.returncode == 1
    assert done.stdout == "Bot > hi 1\n"
    line = (folder / "mybot.py").read_text().splitlines().index('        raise ValueError("two\\nlines")') + 1
    assert done.stderr == f"botsession: ValueError: two lines ({folder / 'mybot.py'}, line {line})\n"


def test_a_handler_need_not_be_a_function(run, folder):
    (folder / "objects.py").write_text(
        "from botsession_console import ConsoleBot\n"
        "class Handler:\n"
        "    async def __call__(self, context):\n"
        "        raise LookupError(context.event.text)\n"
        "bot = ConsoleBot('memory')\n"
        "bot.on_event(Handler())\n"
    )
    done = run("console", "objects:bot", lines="hi\n")
    assert (done.returncode, done.stderr) == (1, "botsession: LookupError: hi\n")


def test_a_handler_may_end_the_program(run):
    done = run("console", "mybot:bot", lines="hi\nleave\nhi\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "Bot > hi 1\n", "")


def test_a_line_that_is_not_utf8_is_told(run):
    done = run("console", "mybot:bot", lines=b"a\n\xff\xfe\nb \xc3\xa9\n")
    assert done.returncode == 1
    assert done.stdout == "Bot > a 1\nBot > b é 2\n"
    assert done.stderr == "botsession: this line was skipped because it is not UTF-8\n"


def test_an_output_without_the_character_escapes_it(run):
    done = run("console", "mybot:bot", lines="é\n", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "Bot > \\xe9 1\n")


def test_a_closed_input_is_an_end(run):
    shell = ("sh", "-c", '"$0" -m botsession_console console <&-', sys.executable)
    done = run(command=shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly(folder, environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "botsession_console", "console", "mybot:bot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
    )
    process.stdin.write(b"a\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"Bot > a 1\n"
    process.stdout.close()
    process.stdin.write(b"b\n")
    process.stdin.flush()
    assert process.wait(20) == OUTPUT_CLOSED
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


def test_ctrl_c_while_it_waits_for_a_pipe(folder, environment):
    with subprocess.Popen(
        [sys.executable, "-m", "botsession_console", "console", "mybot:bot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
    ) as process:
        process.stdin.write(b"later\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Bot > later 1\n"
        assert process.stdout.readline() == b"from the background\n"  # the command waits for input by now
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == INTERRUPTED
        assert process.stderr.read() == b""


def test_ctrl_c_during_a_turn_ends_a_script(folder, environment):
    with subprocess.Popen(
        [sys.executable, "-m", "botsession_console", "console", "mybot:bot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
    ) as process:
        process.stdin.write(b"sleep\nhi\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Bot > sleeping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == INTERRUPTED
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"botsession: the turn was cancelled\n"


def test_sessions_outlive_a_killed_process(folder, environment):
    command = [sys.executable, "-m", "botsession_console", "console", "--driver", "file"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=environment
    ) as process:
        process.stdin.write(b"call me Ada\n/state\n")
        process.stdin.flush()
        while not (line := process.stdout.readline()).startswith(b"{"):
            assert line
        process.kill()
    assert json.loads(line) == {"count": 1, "name": "Ada"}
    done = subprocess.run(
        command, input=b"hi\n", capture_output=True, cwd=folder, env=environment, check=True, timeout=60
    )
    assert done.stdout == b"Bot > Ada, this is your message 2.\n"


def test_a_bot_runs_as_a_script_of_its_own(run, folder):
    (folder / "script.py").write_text("from mybot import bot\nbot.run()\nprint('after')\n")
    script = (sys.executable, "script.py")
    assert run(command=script, lines="a\n").stdout == "Bot > a 1\nafter\n"
    failed = run(command=script, lines="fail\n")
    assert (failed.returncode, failed.stdout) == (1, "")


def test_the_background_goes_on_while_it_waits_for_a_line(folder, environment):
    with subprocess.Popen(
        [sys.executable, "-m", "botsession_console", "console", "mybot:bot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env=environment,
    ) as process:
        process.stdin.write(b"later\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Bot > later 1\n"
        assert process.stdout.readline() == b"from the background\n"
        process.stdin.close()
        assert process.wait(20) == 0
