"""Measured figures and their baselines."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """The result of one measurement.

    Attributes:
        measure: The quantity, such as `turn: p50`.
        backend: The backend.
        contender: The name of the contender.
        case: The conditions, such as `1 KB, 64 tasks`.
        unit: The unit of the numbers.
        rounds: The value of each round.
        against: Contender and case of the baseline.
        note: A remark for the reader.
    """

    measure: str
    backend: str
    contender: str
    case: str
    unit: str
    rounds: Sequence[float]
    against: tuple[str, str] | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


class Figures:
    """All figures measured so far."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, str, str], Figure] = {}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def add(self, figure: Figure) -> None:
        """Add a figure."""
        self._figures[figure.measure, figure.backend, figure.contender, figure.case] = figure

    def find(self, measure: str, backend: str, contender: str, case: str) -> Figure | None:
        """Return a figure, or `None` if it was not measured."""
        return self._figures.get((measure, backend, contender, case))

    def ratio(self, figure: Figure) -> float | None:
        """Return the ratio to the baseline: the median of the ratios of corresponding rounds."""
        other = figure.against and self.find(figure.measure, figure.backend, *figure.against)
        if not other:
            return None
        pairs = list(zip(figure.rounds, other.rounds, strict=False))
        ratios = [one / two if two else math.nan for one, two in pairs]
        return statistics.median(ratios)

    def as_json(self) -> list[dict[str, Any]]:
        """Return all figures, each with its median and ratio."""
        return [
            {
                **asdict(figure),
                "rounds": [_finite(value) for value in figure.rounds],
                "median": _finite(figure.median),
                "ratio": _finite(self.ratio(figure)),
            }
            for figure in self
        ]


def failures(counts: Sequence[Counter[str]], done: int) -> str:
    """Return a note on the failed calls, or an empty string if none failed."""
    total: Counter[str] = sum(counts, Counter())
    if not total:
        return ""
    share = total.total() / (total.total() + done)
    return f"{share:.0%} of the turns failed ({', '.join(sorted(total))})"


def _finite(value: float | None) -> float | None:
    """Return a finite value unchanged, and `None` for any other, since JSON cannot hold it."""
    return value if value is None or math.isfinite(value) else None
