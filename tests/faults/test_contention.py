"""Many bots in several processes at the same sessions, and nothing fails."""

from __future__ import annotations

import pytest
from faults.crew import crew

PROCESSES, TASKS = 4, 16


@pytest.mark.parametrize("by_update", [False, True], ids=["turn", "update"])
@pytest.mark.parametrize("sessions", [1, 10, 1000])
@pytest.mark.parametrize("driver", ["redis", "mongo", "file"])
def test_every_turn_is_there_once(*, driver, sessions, by_update, tmp_path, seed, scale, figures):
    ids = [f"contended:{number}" for number in range(sessions)]
    turns = scale(6, 60)
    with crew(driver, ids, tmp_path, str(seed), turns=turns, by_update=by_update) as bots:
        for number in range(PROCESSES):
            bots.start(f"p{number}")
        bots.go()
        bots.join()
        account = bots.account()
    assert account.fates["acknowledged"] == PROCESSES * TASKS * turns
    how = "update without a lease" if by_update else "turn"
    figures(f"{driver}, {PROCESSES} processes x {TASKS} tasks, {sessions} ids, {how}: {account}", **account.numbers())
