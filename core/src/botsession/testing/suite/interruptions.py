"""A call that is cancelled, or under way while the store is closed, ends at once and does nothing by halves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from botsession.errors import StoreError
from botsession.protocol import SupportsClose
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.calls import (
    REMOVING,
    WRITING,
    calls,
    late,
    steps,
)
from botsession.testing.hooks import Hooks

STEPS = (0, 1, 2, 3, 5, 8, 13, 21)


class Interruptions(Hooks):
    """Calls that are cancelled, and calls under way at `close`."""

    @scenario()
    async def test_a_cancelled_call_ends_as_cancelled(self, bench: Bench) -> None:
        before = await bench.write()
        for number in STEPS:
            for name, call in calls(bench.store, bench.session(), before).items():
                await self._cancel(name, call, number)
            store = bench.adopt(bench.make(f"z{number}"))
            await self._cancel("init", store.init, number)
            if isinstance(store, SupportsClose):
                await store.init()
                await self._cancel("close", store.close, number)

    async def _cancel(self, name: str, call: Callable[[], Coroutine[Any, Any, object]], number: int) -> None:
        """Cancels a call after so many steps of the event loop, unless it has ended by then."""
        task = asyncio.ensure_future(call())
        await steps(number)
        if task.done():
            await asyncio.gather(task, return_exceptions=True)
            return
        task.cancel()
        await asyncio.wait([task], timeout=self.time_limit / 2)
        assert task.done(), f"{name} goes on although it was cancelled at step {number}"
        ended = "returned" if task.cancelled() or task.exception() is None else f"raised {task.exception()!r}"
        assert task.cancelled(), f"{name} {ended} although it was cancelled at step {number}"

    @scenario(SupportsClose)
    async def test_calls_under_way_at_close_end(self, bench: Bench) -> None:
        for number in STEPS:
            bench.store = await bench.open(f"z{number}")
            before = await bench.write(state={"by": "before"})
            session = bench.session(state={"by": "call"})
            each = calls(bench.store, session, before)
            tasks = {name: asyncio.ensure_future(call()) for name, call in each.items()}
            await steps(number)
            tasks["close"] = asyncio.ensure_future(bench.store.close())
            hanging = await late(tasks, self.time_limit / 2)
            assert not hanging, f"{', '.join(hanging)} did not end; the store was closed after {number} steps"
            await tasks["close"]
            outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
            for name, outcome in zip(tasks, outcomes, strict=True):
                right = isinstance(outcome, StoreError) or not isinstance(outcome, BaseException)
                assert right, f"{name} ended by {outcome!r}; the store was closed after {number} steps"

    @scenario(SupportsClose, shared=True)
    async def test_close_leaves_nothing_half_done(self, bench: Bench) -> None:
        for name in {*WRITING, *REMOVING, "touch"} & calls(bench.store).keys():
            for number in (0, 1, 3, 8):
                before = await bench.write(state={"by": "before"})
                other = await bench.open()
                session = bench.session(state={"by": "call"})
                call = asyncio.ensure_future(calls(other, session, before)[name]())
                await steps(number)
                async with asyncio.timeout(self.time_limit / 2):
                    await other.close()
                    outcome = (await asyncio.gather(call, return_exceptions=True))[0]
                where = f"after {name}; the store was closed after {number} steps"
                found = await bench.store.read(ID)
                possible = {
                    "before": {"by": "before"},
                    "call": {"by": "call"} if name in WRITING else {"by": "before"},
                    "gone": None if name in REMOVING else {"by": "before"},
                }
                assert (found and found.state) in possible.values(), where
                if outcome in (None, [None]) and name != "touch":
                    assert found is None or found.state == {"by": "call"}, f"it said that it was done, {where}"
                await bench.write(state={"by": "after"})
                await asyncio.sleep(0.002)
                assert (await bench.stored()).state == {"by": "after"}, f"late, {where}"
