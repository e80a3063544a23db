"""What was measured, and what it is compared with."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured.

    Attributes:
        measure: What was measured, such as `turn: p50`.
        backend: Where.
        contender: Of whom.
        case: Under which circumstances, such as `1 KB, 64 tasks`.
        unit: Of the numbers.
        rounds: The number of each round.
        against: Contender and case of the figure that it is compared with.
        note: What a reader has to know.
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
    """All that was measured so far."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, str, str], Figure] = {}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def add(self, figure: Figure) -> None:
        """Keeps a figure."""
        self._figures[figure.measure, figure.backend, figure.contender, figure.case] = figure

    def find(self, measure: str, backend: str, contender: str, case: str) -> Figure | None:
        """Returns a figure, if it was measured."""
        return self._figures.get((measure, backend, contender, case))

    def ratio(self, figure: Figure) -> float | None:
        """Returns how many times as much as that of the other it is: the median of the rounds that ran side by side."""
        other = figure.against and self.find(figure.measure, figure.backend, *figure.against)
        if not other:
            return None
        pairs = list(zip(figure.rounds, other.rounds, strict=False))
        ratios = [one / two if two else math.nan for one, two in pairs]
        return statistics.median(ratios)

    def as_json(self) -> list[dict[str, Any]]:
        """Returns all figures with median and ratio."""
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
    """Returns a note on the calls that failed; empty where none did."""
    total: Counter[str] = sum(counts, Counter())
    if not total:
        return ""
    share = total.total() / (total.total() + done)
    return f"{share:.0%} of the turns failed ({', '.join(sorted(total))})"


def _finite(value: float | None) -> float | None:
    """Returns what JSON can hold."""
    return value if value is None or math.isfinite(value) else None
