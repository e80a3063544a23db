"""The command in a real terminal."""

from __future__ import annotations

import time

from botsession_console.exits import INTERRUPTED

BLOCKED_SECONDS = 0.5
"""Time for a blocking handler to enter its system call. A signal just before the call would wait for its end."""


def test_prompt_answer_and_the_end_of_the_input(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    assert "Session console:1 in MemorySessionStore" in terminal.wait_for("/quit ends.\n")
    terminal.say("hello")
    assert terminal.wait_for("Bot > hello 1\n")
    terminal.wait_for("You > ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert terminal.screen.endswith("You > \n")


def test_quit(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    terminal.say("/quit")
    assert terminal.end() == 0


def test_lines_can_be_edited_and_come_back(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    terminal.say("helloo\x7f")
    terminal.wait_for("Bot > hello 1\n")
    terminal.say("\x1b[A")
    terminal.wait_for("Bot > hello 2\n")


def test_state_is_shown(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    terminal.say("/state")
    terminal.wait_for('{"count": 0}\n')


def test_ctrl_c_at_the_prompt_ends_it_and_leaves_the_terminal_as_it_was(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    terminal.say("hello")
    terminal.wait_for("You > ")
    terminal.type("half a li")
    terminal.wait_for("half a li")
    assert terminal.modes() != terminal.modes_before
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    assert terminal.modes() == terminal.modes_before
    assert "Traceback" not in terminal.screen


def test_ctrl_c_cancels_a_turn_and_returns_to_the_prompt(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    for text, answer in (("sleep", "sleeping"), ("block", "blocking")):
        terminal.say(text)
        terminal.wait_for(f"Bot > {answer}\n")
        time.sleep(BLOCKED_SECONDS)
        terminal.type("\x03")
        terminal.wait_for("botsession: the turn was cancelled\n")
    terminal.say("/session")
    terminal.wait_for("null\n")
    terminal.say("hello")
    terminal.wait_for("Bot > hello 1\n")
    terminal.say("/exit")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.screen


def test_a_failing_handler_does_not_end_the_conversation(open_terminal):
    terminal = open_terminal("console", "mybot:bot")
    terminal.say("fail")
    terminal.wait_for("botsession: ValueError: two lines")
    terminal.say("hello")
    terminal.wait_for("Bot > hello 1\n")
    terminal.wait_for("You > ")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_an_answer_while_the_prompt_waits(open_terminal, folder):
    (folder / "slowbot.py").write_text(
        "import asyncio\n"
        "async def handler(context):\n"
        "    async def later():\n"
        "        await asyncio.sleep(0.2)\n"
        "        await context.send_text('later')\n"
        "    handler.task = asyncio.create_task(later())\n"
    )
    terminal = open_terminal("console", "slowbot:handler")
    terminal.say("hi")
    terminal.wait_for("You > \nBot > later\nYou > ")
