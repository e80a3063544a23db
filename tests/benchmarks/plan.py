"""How much is measured: a quick run of about two minutes, or a full one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.workload import LARGE, SMALL, Workload


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        full: Whether it takes its time.
        backends: Which backends are measured.
        peers: Whether other libraries run too.
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
        """Returns over how many sessions turns go."""
        if self.full:
            return 10_000
        return 200 if backend == "mongo" else 1_000

    def tasks(self, backend: str) -> Sequence[int]:
        """Returns how many turns are under way at once."""
        return (1, 64, 512) if self.full or backend in {"memory", "redis"} else (1, 64)
