"""The measures by name, in the order in which they run; one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.figures import Figures
from benchmarks.measures import cold_start, contention, discovery, growth, leases, memory, scanning, turns, unchanged
from benchmarks.plan import Plan

MEASURES: Final[Mapping[str, Callable[[Plan, Figures], None]]] = {
    "turns": turns.measure,
    "contention": contention.measure,
    "unchanged": unchanged.measure,
    "leases": leases.measure,
    "cold-start": cold_start.measure,
    "memory": memory.measure,
    "scan": scanning.measure,
    "discovery": discovery.measure,
    "growth": growth.measure,
}
