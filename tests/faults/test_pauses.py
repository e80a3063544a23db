"""Processes paused for longer than their leases: others continue, and the paused process cannot overwrite them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from faults.crew import crew, wait_until

LEASE = 0.5


@pytest.mark.parametrize("driver", ["redis", "mongo", "file"])
def test_a_holder_that_is_paused_past_its_lease(driver, tmp_path, seed, figures):
    """The holder sees `lease_lost`, its turn is refused at the end, and its next turn works."""
    with crew(driver, ["paused:1"], tmp_path, str(seed), clients=1, turns=1, settings={"lease_ttl": LEASE}) as bots:
        paused = bots.start("paused", hold="resume")
        bots.go()
        wait_until(lambda: inside(bots), bots)
        os.kill(paused.pid, signal.SIGSTOP)
        other = bots.start("other")
        other.join(60)
        assert other.exitcode == 0, "the other process did not get its turn"
        Path(bots.plan.folder, "resume").touch()
        assert bots.acknowledged("paused") == 0
        os.kill(paused.pid, signal.SIGCONT)
        bots.join()
        account = bots.account()
        first, second = sorted(bots.turns("paused").values(), key=lambda turn: turn["began"])
        [others] = bots.turns("other").values()
    assert first["lease_lost"]
    assert first["error"].startswith("SessionConflictError")
    assert not second["lease_lost"]
    assert others["found"]["length"] == 0
    assert second["found"]["last"] == others["token"]
    figures(f"{driver}, a holder paused past its lease of {LEASE} s: {account}", **account.numbers())


@pytest.mark.parametrize("driver", ["redis", "mongo", "file"])
def test_pauses_at_any_moment(*, driver, tmp_path, chance, seed, scale, figures):
    pauses = scale(6, 300)
    ids = [f"paused:{number}" for number in range(6)]
    with crew(driver, ids, tmp_path, str(seed), clients=4, settings={"lease_ttl": LEASE}) as bots:
        names = [f"p{number}" for number in range(3)]
        for name in names:
            bots.start(name)
        bots.go()
        for _ in range(pauses):
            before = bots.acknowledged()
            wait_until(lambda before=before: bots.acknowledged() > before, bots)
            pid = bots.processes[chance.choice(names)].pid
            time.sleep(chance.uniform(0, 0.05))
            os.kill(pid, signal.SIGSTOP)
            time.sleep(chance.uniform(0, 2 * LEASE))
            os.kill(pid, signal.SIGCONT)
        bots.stop()
        account = bots.account()
    figures(f"{driver}, {pauses} pauses around a lease of {LEASE} s: {account}", pauses=pauses, **account.numbers())


def inside(bots) -> bool:
    return any("inside" in turn for turn in bots.turns("paused").values())
