from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from botsession import Session, SessionConflictError
from botsession_file import FileSessionStore

KILLS = 30

KILLED = """
import asyncio, json, os, random, signal, sys, time
from botsession import Session
from botsession_file import FileSessionStore
import botsession_file.store

folder, kills = sys.argv[1], int(sys.argv[2])
chance = random.Random(20)

def write_until_killed(round, pipe):
    async def main():
        store = await FileSessionStore(folder).init()
        async def writer(key):
            for n in range(10**6):
                state = {"round": round, "n": n, "text": "x" * (n * 997 % 20_000)}
                await store.write(key, Session(key, state))
                os.write(pipe, f"{key} {n}\\n".encode())
        await asyncio.gather(*(writer(f"kill:{i}") for i in range(4)))
    asyncio.run(main())

acknowledged = {}
for round in range(kills):
    outlet, inlet = os.pipe()
    child = os.fork()
    if not child:
        os.close(outlet)
        try:
            write_until_killed(round, inlet)
        finally:
            os._exit(1)
    os.close(inlet)
    first = os.read(outlet, 1)
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(outlet, "rb") as pipe:
        lines = (first + pipe.read()).decode().splitlines()
    for line in lines:
        key, n = line.split()
        acknowledged[key] = [round, int(n)]
print(json.dumps(acknowledged))
"""

INCREMENTS = """
import asyncio, sys
from botsession import Session, SessionConflictError
from botsession_file import FileSessionStore

async def main():
    store = await FileSessionStore(sys.argv[1]).init()
    conflicts = done = 0
    while done < int(sys.argv[2]):
        session = await store.read("count:1") or Session("count:1", {"n": 0})
        session.state["n"] += 1
        try:
            await store.replace("count:1", session, expected=session.version or None)
            done += 1
        except SessionConflictError:
            conflicts += 1
    await store.close()
    print(conflicts)
asyncio.run(main())
"""


def test_killed_writers_leave_whole_files_and_all_that_was_acknowledged(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", KILLED, str(tmp_path / "s"), str(KILLS)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    acknowledged: dict[str, list[int]] = json.loads(output)
    assert len(acknowledged) == 4

    async def check() -> None:
        store = await FileSessionStore(tmp_path / "s").init()
        for key, (kill, n) in acknowledged.items():
            session = await store.read(key)
            assert session is not None
            assert [session.state["round"], session.state["n"]] >= [kill, n]
            assert len(session.state["text"]) == session.state["n"] * 997 % 20_000
        assert sorted(info.id for info in (await store.scan()).sessions) == sorted(acknowledged)
        await store.purge()
        await store.close()

    asyncio.run(check())
    assert list(tmp_path.rglob("*.tmp")) == []


def test_processes_that_count_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", INCREMENTS, str(tmp_path / "s"), "100"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    conflicts = [int(process.communicate()[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum(conflicts) > 0, "they did not get into each other's way, so that nothing was tested"

    async def check() -> None:
        store = await FileSessionStore(tmp_path / "s").init()
        session = await store.read("count:1")
        assert session is not None and session.state == {"n": 400}
        await store.close()

    asyncio.run(check())


def test_two_stores_on_one_directory(tmp_path: Path) -> None:
    """A destroyed session stays destroyed, whichever store acts first."""

    async def body() -> None:
        one, two = [await FileSessionStore(tmp_path / "s").init() for _ in range(2)]
        refused = 0
        for _ in range(40):
            session = Session("a:1")
            await one.write("a:1", session)
            outcomes = await asyncio.gather(
                one.replace("a:1", session, expected=session.version), two.destroy("a:1"), return_exceptions=True
            )
            refused += isinstance(outcomes[0], SessionConflictError)
            assert outcomes[1] is None
            assert await one.read("a:1") is None
        racers = [Session("a:2") for _ in range(20)]
        results = await asyncio.gather(
            *([one, two][i % 2].replace("a:2", racer, expected=None) for i, racer in enumerate(racers)),
            return_exceptions=True,
        )
        assert [type(result) for result in results].count(SessionConflictError) == 19
        await one.close()
        await two.close()

    asyncio.run(body())
