"""A bot that talks without a pause until its standard input ends; it writes down what was acknowledged.

    python talking_bot.py CONFIG JOURNAL NUMBER

A line of the journal is `+ ID` for a turn that was saved, and `- ID` for a session that was destroyed for good.
"""

from __future__ import annotations

import asyncio
import itertools
import pathlib
import random
import sys
import threading

from botsession import Sessions
from botsession.config import load_settings

CROWD = 200


async def talk(sessions, journal, chance, stop):
    while not stop.is_set():
        session_id = f"telegram:{chance.randrange(CROWD)}"
        await sessions.update(session_id, count_up)
        journal.write(f"+ {session_id}\n")


async def leave(sessions, journal, number, stop):
    """Creates sessions that are talked to a few times and destroyed."""
    for visitor in itertools.count():
        if stop.is_set():
            return
        session_id = f"visitor:{number}-{visitor}"
        for _ in range(3):
            await sessions.update(session_id, count_up)
        await sessions.destroy(session_id)
        journal.write(f"- {session_id}\n")


def count_up(session):
    session.state["count"] = session.state.get("count", 0) + 1


async def main(config, journal, number):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    async with Sessions(load_settings(config)) as sessions:
        sys.stdout.write("talking\n")
        sys.stdout.flush()
        chance = random.Random(f"{number} {config}")
        talks = (talk(sessions, journal, chance, stop) for _ in range(3))
        await asyncio.gather(leave(sessions, journal, number, stop), *talks)


if __name__ == "__main__":
    with pathlib.Path(sys.argv[2]).open("a", buffering=1) as file:
        asyncio.run(main(sys.argv[1], file, sys.argv[3]))
