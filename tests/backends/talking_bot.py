"""A bot that runs turns without a pause until it is stopped, and keeps a journal of what was acknowledged.

A line of the journal is `+ ID` for a turn that was saved, and `- ID` for a session that was destroyed for good.
"""

from __future__ import annotations

import asyncio
import itertools
import pathlib
import random
import threading
from multiprocessing.synchronize import Event

from botsession import Sessions
from botsession.configuration.sources import load_settings

CROWD = 200


async def talk(sessions, journal, chance, stop):
    while not stop.is_set():
        session_id = f"telegram:{chance.randrange(CROWD)}"
        await sessions.update(session_id, count_up)
        journal.write(f"+ {session_id}\n")


async def leave(sessions, journal, number, stop):
    """Create sessions, run a few turns of each and destroy it."""
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


def run(config: pathlib.Path, journal: pathlib.Path, number: int, talking: Event, stopped: Event) -> None:
    """Run the bot until the parent sets `stopped`; set `talking` once it has started."""
    with journal.open("a", buffering=1) as file:
        asyncio.run(_run(config, file, number, talking, stopped))


async def _run(config, journal, number, talking, stopped):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (stopped.wait(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    async with Sessions(load_settings(config)) as sessions:
        talking.set()
        chance = random.Random(f"{number} {config}")
        talks = (talk(sessions, journal, chance, stop) for _ in range(3))
        await asyncio.gather(leave(sessions, journal, number, stop), *talks)
