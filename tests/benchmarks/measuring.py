"""Interleaved measurement: operations alternate in short rounds, so that a disturbance of the machine affects all of them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

Operation = Callable[[str], Awaitable[object]]


@dataclass
class Round:
    """The result of one operation in one round.

    Attributes:
        latencies: The duration of each successful call, in microseconds.
        failures: The number of failed calls, by the name of the error.
        seconds: The duration of the round, up to the end of its last call.
        cpu: The processor time of this process during the round, in seconds, summed over all threads.
    """

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def cpu_each(self) -> float:
        """Processor time per call in microseconds, or NaN if all calls failed."""
        return self.cpu / len(self.latencies) * 1e6 if self.latencies else float("nan")

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def p99(self) -> float:
        return self.percentile(99)

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies, or NaN if all calls failed."""
        if len(self.latencies) < 2:
            return self.latencies[0] if self.latencies else float("nan")
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


async def race(
    operations: Mapping[str, Operation], ids: Sequence[str], *, tasks: int, rounds: int, seconds: float
) -> dict[str, list[Round]]:
    """Run operations alternately, in an order that rotates from round to round.

    Args:
        operations: The operations by name.
        ids: The session ids; each call takes the next one.
        tasks: The number of concurrent calls.
        rounds: The number of rounds of each operation, not counting one warm-up round.
        seconds: How long a round starts new calls.
    """
    outcomes: dict[str, list[Round]] = {name: [] for name in operations}
    names = list(operations)
    numbers = itertools.cycle(ids)
    gc.collect()
    gc.freeze()
    try:
        for number in range(rounds + 1):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                outcome = await _round(operations[name], numbers, tasks, seconds)
                if number:
                    outcomes[name].append(outcome)
    finally:
        gc.unfreeze()
    return outcomes


async def fill(operation: Operation, ids: Sequence[str], *, tasks: int = 64) -> None:
    """Call an operation once for each id."""
    rest = iter(ids)

    async def work() -> None:
        for session_id in rest:
            await operation(session_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(work())


async def _round(operation: Operation, ids: itertools.cycle[str], tasks: int, seconds: float) -> Round:
    outcome = Round()
    clock = time.perf_counter
    begin, used = clock(), time.process_time()
    end = begin + seconds

    async def work() -> None:
        while (start := clock()) < end:
            try:
                await operation(next(ids))
            except Exception as error:
                outcome.failures[type(error).__name__] += 1
                await asyncio.sleep(0)
            else:
                outcome.latencies.append((clock() - start) * 1e6)

    await asyncio.gather(*(work() for _ in range(tasks)))
    outcome.seconds, outcome.cpu = clock() - begin, time.process_time() - used
    return outcome
