"""Processes killed while they write: acknowledged data survives, and nothing is torn."""

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
"""A short lease, so that no turn waits long for a killed process."""


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
"""The state's `n` before, the step, and `n` afterwards; `None` means no session."""


@pytest.mark.parametrize("name", STEPS)
def test_killed_at_every_call_of_the_system(name, tmp_path, figures):
    """Count the system calls of one operation, and kill a process before each of them."""
    before, step, after = STEPS[name]
    model = tmp_path / "model"
    done(model, change if before else look)
    folders = [tmp_path / "0"]
    while was_killed(shutil.copytree(model, folders[-1]), step, len(folders) - 1):
        folders.append(tmp_path / str(len(folders)))
    *killed, undisturbed = [done(folder, look_and_go_on) for folder in folders]
    assert undisturbed == after
    assert {*killed, undisturbed} == {before, after}
    assert len(killed) >= 5, "too few system calls were tried; does the profiler see them?"
    assert purge(tmp_path) or name == "destroy", "a write must start with a file of another name"
    figures(
        f"file, {name}: killed at each of its {len(killed)} system calls; applied entirely or not at all",
        kills=len(killed),
    )


def was_killed(folder: Path, step, place: int) -> bool:
    """Run one step in a process that kills itself; return whether it reached that point."""
    process = processes.Process(target=done_until_killed, args=(folder, step, place))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def purge(folder: Path) -> int:
    """Purge what killed writers left behind; return how much there was."""
    left = {path.parents[1] for path in folder.rglob("*.tmp")}
    for sessions in left:
        done(sessions, FileSessionStore.purge)
    assert list(folder.rglob("*.tmp")) == []
    return len(left)
