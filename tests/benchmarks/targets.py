"""The targets of botsession, as ratios to the bare client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Figure, Figures


@dataclass(frozen=True)
class Target:
    """A bound on a ratio.

    Attributes:
        measure: The measured quantity.
        backend: The backend; empty for any.
        case: The suffix of matching cases.
        bound: The bound.
        at_least: Whether the bound is a minimum.
    """

    measure: str
    backend: str
    case: str
    bound: float
    at_least: bool = False

    def fits(self, figure: Figure) -> bool:
        """Return whether the target applies to a figure."""
        return (
            figure.measure == self.measure
            and self.backend in {"", figure.backend}
            and figure.case.endswith(self.case)
            and figure.contender.startswith("botsession")
            and figure.against != (figure.contender, figure.case)
        )

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio is within the bound."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"


def _turns(backend: str, alone: float, many: float, most: float) -> Iterator[Target]:
    yield Target("turn: p50", backend, ", 1 task", alone)
    yield Target("turns per second", backend, ", 64 tasks", many, at_least=True)
    yield Target("turns per second", backend, ", 512 tasks", most, at_least=True)


TARGETS: Final = (
    *_turns("memory", 2.0, 0.5, 0.5),
    *_turns("redis", 1.15, 3.5, 5.0),
    *_turns("mongo", 1.15, 1.5, 1.5),
    *_turns("file", 1.15, 1.2, 1.2),
    *(Target("unchanged turn: p50", backend, "1 task", 1.15) for backend in ("redis", "mongo", "file")),
    Target("lease: p50", "redis", "1 task", 1.3),
    Target("cold start", "", "", 1.25),
    Target("bytes per session", "memory", "", 1.15),
    Target("growth: turns per second", "", "1,000,000 ids", 0.8, at_least=True),
)


def checked(figures: Figures) -> Iterator[tuple[Figure, float, Target]]:
    """Yield each figure that has a target, with its ratio and the target."""
    for figure in figures:
        ratio = figures.ratio(figure)
        for target in TARGETS:
            if ratio is not None and target.fits(figure):
                yield figure, ratio, target
