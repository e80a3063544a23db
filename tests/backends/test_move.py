"""A move without downtime: bots switch one by one, migrations are killed, and no turn is lost."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter

import backends
import forked
import pytest
import talking_bot

from botsession import Session, open_store

QUIET = 400
"""The number of idle sessions."""


class Move:
    """Two stores, three bots in separate processes, and their journals."""

    def __init__(self, old, new, folder):
        self.folder = folder
        self.names = {"old": old, "new": new}
        self.options = {place: backends.options(name, folder / place) for place, name in self.names.items()}
        self.chance = random.Random(7)
        self.bots = {}
        for lead in ("old", "new"):
            mirror = {"driver": "mirror", "stores": {"mirror": {**self.names, "lead": lead}, **self.sections()}}
            self.write(f"lead_{lead}", mirror)
            self.write(lead, {"driver": self.names[lead], "stores": self.sections()})

    def sections(self):
        return {name: self.options[place] for place, name in self.names.items()}

    def write(self, name, config):
        lines = [f"driver = '{config['driver']}'"]
        for section, options in config["stores"].items():
            lines += [f"[stores.{section}]", *(f"{key} = '{value}'" for key, value in options.items())]
        (self.folder / f"{name}.toml").write_text("\n".join(lines) + "\n")

    def open(self, place):
        return open_store({"driver": self.names[place], "stores": self.sections()})

    def change_over(self, config):
        """Restart the bots one by one with another configuration."""
        for number in range(3):
            self.end(number)
            talking, stopped = forked.processes.Event(), forked.processes.Event()
            files = self.folder / f"{config}.toml", self.folder / f"journal-{number}"
            bot = forked.processes.Process(target=talking_bot.run, args=(*files, number, talking, stopped))
            bot.start()
            self.bots[number] = bot, stopped
            assert talking.wait(30)
            self.let_them_talk()

    def let_them_talk(self):
        """Wait for some more turns, so that no bot is replaced before it has run any."""
        wanted = sum(self.journal()[0].values()) + 70
        deadline = time.monotonic() + 30
        while sum(self.journal()[0].values()) < wanted:
            assert time.monotonic() < deadline, "the bots do not go on"
            time.sleep(0.02)

    def end(self, number):
        if number in self.bots:
            bot, stopped = self.bots.pop(number)
            stopped.set()
            bot.join(30)
            assert bot.exitcode == 0

    def run_mover(self, *options, kills):
        """Run `migrate`, kill it a number of times, then let it finish; return its output."""
        arguments = ["migrate", *self.names.values(), *options, "--config", str(self.folder / "old.toml")]
        streams = [self.folder / name for name in ("stdin", "stdout", "stderr")]
        streams[0].touch()
        for _ in range(kills):
            mover = forked.start_command(arguments, self.folder, os.environ, streams)
            time.sleep(0.05 + self.chance.random() / 4)
            mover.kill()
            mover.join()
        done = forked.run_command(arguments, b"", self.folder, os.environ, self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def journal(self):
        saved, left = Counter(), set()
        for number in range(3):
            file = self.folder / f"journal-{number}"
            for line in file.read_text().splitlines() if file.exists() else []:
                sign, session_id = line.split(" ")
                saved.update([session_id] if sign == "+" else [])
                left.update([session_id] if sign == "-" else [])
        return saved, left


@pytest.mark.parametrize(("old", "new"), [("file", "redis"), ("redis", "mongo")])
def test_a_move_without_a_stop_loses_nothing(old, new, tmp_path):
    move = Move(old, new, tmp_path)

    async def fill():
        store = await move.open("old").init()
        quiet = [Session(f"quiet:{number}", {"number": number}, expires_in=number + 60) for number in range(QUIET)]
        for session in quiet:
            await store.write(session.id, session)
        await store.close()
        return quiet

    async def content():
        store = await move.open("new").init()
        found, after = {}, None
        while True:
            page = await store.scan(after=after)
            assert not page.unreadable
            found |= {info.id: await store.read(info.id) for info in page.sessions}
            after = page.next
            if after is None:
                await store.close()
                return found

    quiet = asyncio.run(fill())
    try:
        move.change_over("old")
        move.change_over("lead_old")
        said = move.run_mover("--rate", "1500", kills=2)
        assert "0 unreadable, 0 failed" in said
        move.change_over("lead_new")
        move.run_mover("--hand-over", kills=1)
        move.change_over("new")
    finally:
        for number in list(move.bots):
            move.end(number)
    saved, left = move.journal()
    found = asyncio.run(content())
    assert sum(saved.values()) > 1000
    assert len(left) > 20
    assert {session_id for session_id in found if session_id in left} == set()
    assert {session.id: found.get(session.id) for session in quiet} == {session.id: session for session in quiet}
    assert {session_id: found[session_id].state["count"] for session_id in saved} == saved
    assert found.keys() == saved.keys() | {session.id for session in quiet}
