"""The extent of a run: quick, in about two minutes, or full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.workload import LARGE, SMALL, Workload


@dataclass(frozen=True)
class Plan:
    """The extent of a run.

    Attributes:
        full: Whether this is a full run.
        backends: The backends to measure.
        peers: Whether to measure other libraries too.
    """

    full: bool
    backends: Sequence[str]
    peers: bool = True

    @property
    def rounds(self) -> int:
        return 15 if self.full else 5

    @property
    def seconds(self) -> float:
        return 0.5 if self.full else 0.1

    @property
    def workloads(self) -> Sequence[Workload]:
        return (SMALL, LARGE) if self.full else (SMALL,)

    def ids(self, backend: str) -> int:
        """Return the number of session ids that turns use."""
        if self.full:
            return 10_000
        return 200 if backend == "mongo" else 1_000

    def tasks(self, backend: str) -> Sequence[int]:
        """Return the numbers of concurrent turns to measure."""
        return (1, 64, 512) if self.full or backend in {"memory", "redis"} else (1, 64)
