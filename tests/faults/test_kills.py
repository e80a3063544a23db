"""Processes that are killed while they write: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from faults.crew import crew, processes, wait_until
from faults.file_steps import change, destroy, done, done_until_killed, look, look_and_go_on, renew

from botsession_file import FileSessionStore

SOON_FREE = {"lease_ttl": 0.2}
"""So that nobody waits long for the lease of a process that was killed."""


@pytest.mark.parametrize("driver", ["redis", "mongo", "file"])
def test_killed_at_any_moment(*, driver, tmp_path, chance, seed, scale, figures):
    kills = scale(40, 334)
    ids = [f"killed:{number}" for number in range(6)]
    with crew(driver, ids, tmp_path, str(seed), clients=4, padding=20_000, settings=SOON_FREE) as bots:
        living = [f"p{number}" for number in range(3)]
        for name in living:
            bots.start(name)
        bots.go()
        for number in range(kills):
            name = living.pop(0)
            wait_until(partial(bots.has_taken, name, chance.randint(0, 2)), bots)
            bots.processes[name].join(chance.uniform(0, 0.01))
            bots.processes[name].kill()
            living.append(f"r{number}")
            bots.start(living[-1])
        wait_until(partial(bots.has_taken, living[-1], 1), bots)
        bots.stop()
        account = bots.account()
    assert account.fates["acknowledged"]
    figures(f"{driver}, {kills} kills of processes with 4 tasks: {account}", kills=kills, **account.numbers())
    if driver == "file":
        purge(tmp_path)


STEPS = {"create": (None, change, 1), "change": (1, change, 2), "renew": (1, renew, 1), "destroy": (1, destroy, None)}
"""What is there before, what is done, and what is there after it; `n` of the state, `None` for no session."""


@pytest.mark.parametrize("name", STEPS)
def test_killed_at_every_call_of_the_system(name, tmp_path, figures):
    """Counts the calls of the system that one operation makes, and kills a process before each of them."""
    before, step, after = STEPS[name]
    model = tmp_path / "model"
    done(model, change if before else look)
    folders = [tmp_path / "0"]
    while was_killed(shutil.copytree(model, folders[-1]), step, len(folders) - 1):
        folders.append(tmp_path / str(len(folders)))
    *killed, undisturbed = [done(folder, look_and_go_on) for folder in folders]
    assert undisturbed == after
    assert {*killed, undisturbed} == {before, after}
    assert len(killed) >= 5, "not much has been tried; does the profiler see the calls?"
    assert purge(tmp_path) or name == "destroy", "whoever writes begins with a file of another name"
    figures(
        f"file, {name}: killed at each of its {len(killed)} calls of the system; wholly done or not at all",
        kills=len(killed),
    )


def was_killed(folder: Path, step, place: int) -> bool:
    """Does one step in a process that kills itself; tells whether it came to that place."""
    process = processes.Process(target=done_until_killed, args=(folder, step, place))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def purge(folder: Path) -> int:
    """Has the store remove what killed writers left; returns how much there was."""
    left = {path.parents[1] for path in folder.rglob("*.tmp")}
    for sessions in left:
        done(sessions, FileSessionStore.purge)
    assert list(folder.rglob("*.tmp")) == []
    return len(left)
