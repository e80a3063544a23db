"""Calls in any order give what a plain model gives."""

from __future__ import annotations

import itertools

from hypothesis.stateful import run_state_machine_as_test

from botsession.protocol import SupportsExpiry
from botsession.testing.bench import opened
from botsession.testing.hooks import Hooks
from botsession.testing.machine import EXPIRES_IN
from botsession.testing.machine_leases import LeasingMachine
from botsession.testing.samples import moderate


class AnyOrder(Hooks):
    """The state machine of the kit."""

    def test_any_order_of_calls_gives_what_a_model_gives(self) -> None:
        numbers = itertools.count()
        with opened(self) as (bench, run):
            if isinstance(bench.store, SupportsExpiry):
                bench.store = run(bench.open(expires_in=EXPIRES_IN))

            class Machine(LeasingMachine):
                def __init__(self) -> None:
                    super().__init__(bench, run, f"{next(numbers)}:")

            settings = moderate(self.examples // 2, stateful_step_count=25)
            run_state_machine_as_test(Machine, settings=settings)
