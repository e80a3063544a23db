"""Many bots in several processes share the same sessions without failures."""

from __future__ import annotations

import pytest
from faults.crew import crew

PROCESSES, TASKS = 4, 16


WAYS = {
    "turn": {},
    "update without leases": {"settings": {"lock": "local"}, "by_update": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sessions", [1, 10, 1000])
@pytest.mark.parametrize("driver", ["redis", "mongo", "file"])
def test_every_turn_is_there_once(*, driver, sessions, way, tmp_path, seed, scale, figures):
    ids = [f"contended:{number}" for number in range(sessions)]
    turns = scale(3 if sessions == 1 else 6, 60)
    with crew(driver, ids, tmp_path, str(seed), turns=turns, patience=scale(180, 3_600), **WAYS[way]) as bots:
        for number in range(PROCESSES):
            bots.start(f"p{number}")
        bots.go()
        bots.join()
        account = bots.account()
    assert account.fates["acknowledged"] == PROCESSES * TASKS * turns
    if way == "turn":
        assert account.fates == {"acknowledged": PROCESSES * TASKS * turns}, account.examples
    figures(f"{driver}, {PROCESSES} processes x {TASKS} tasks, {sessions} ids, {way}: {account}", **account.numbers())
