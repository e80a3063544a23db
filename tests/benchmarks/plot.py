"""The plot: each contender's ratio to the bare client, on each backend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.figures import Figure, Figures
from benchmarks.report import number
from benchmarks.targets import TARGETS
from benchmarks.workload import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS: Final = (
    ("turn: p50", f"{SMALL.name}, 1 task", "One task: time of a turn (less is better)"),
    ("turns per second", f"{SMALL.name}, 64 tasks", "64 tasks: turns per second (more is better)"),
    ("turns per second", f"{SMALL.name}, 512 tasks", "512 tasks: turns per second (more is better)"),
)
_OURS, _BARE, _PEER, _TARGET = "#1f6feb", "#57606a", "#c4ccd4", "#cf222e"


def write(folder: Path, header: Mapping[str, str], figures: Figures) -> bool:
    """Write `results.svg` and `results.png`. Return whether they were written: it takes figures and matplotlib."""
    backends = list(dict.fromkeys(figure.backend for figure in figures if figure.measure == _COLUMNS[0][0]))
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    if not backends:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    heights = [max(len(_bars(figures, backend, *column[:2])) for column in _COLUMNS) for backend in backends]
    picture, grid = plt.subplots(
        len(backends),
        len(_COLUMNS),
        figsize=(17, 1.6 + sum(heights) * 0.33 + len(backends) * 0.75),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for row, backend in enumerate(backends):
        for column, (measure, case, title) in enumerate(_COLUMNS):
            axes = grid[row][column]
            bars = _bars(figures, backend, measure, case)
            if not bars:
                axes.set_axis_off()
                continue
            _draw(axes, figures, bars)
            axes.set_title(f"{backend}\n{title}" if row == 0 else backend, fontsize=10, loc="left")
    picture.suptitle(
        "A turn, relative to the same turn on the bare client (1x, no compare-and-set). Dashed: the target for botsession.\n"
        f"{header['python']}, {header['machine']}, commit {header['commit']}, {header['date']}",
        fontsize=11,
    )
    for kind in ("svg", "png"):
        picture.savefig(folder / f"results.{kind}", dpi=110)
    plt.close(picture)
    return True


def _bars(figures: Figures, backend: str, measure: str, case: str) -> Sequence[Figure]:
    found = [figure for figure in figures if (figure.measure, figure.backend, figure.case) == (measure, backend, case)]
    kinds = [figure for figure in found if figures.ratio(figure) is not None]
    return sorted(kinds, key=lambda figure: (_rank(figure), figure.contender), reverse=True)


def _draw(axes: Axes, figures: Figures, bars: Sequence[Figure]) -> None:
    colors = (_OURS, _BARE, _PEER)
    ratios = [_finite(figures.ratio(bar)) for bar in bars]
    bounds = {target.bound for bar in bars for target in TARGETS if target.fits(bar)}
    axes.barh([bar.contender for bar in bars], ratios, color=[colors[_rank(bar)] for bar in bars], height=0.72)
    for place, (bar, ratio) in enumerate(zip(bars, ratios, strict=True)):
        failed = f", {bar.note.partition(' of the turns')[0]} failed" if bar.note else ""
        label = f"{ratio:.2f}x  ({number(bar.median)} {bar.unit}{failed})"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9}
        axes.annotate(
            label, (ratio, place), (4, 0), textcoords="offset points", va="center", fontsize=8, bbox=ground, zorder=5
        )
    axes.axvline(1, color=_BARE, linewidth=0.8)
    for bound in bounds:
        axes.axvline(bound, color=_TARGET, linewidth=1.2, linestyle="--")
    axes.set_xlim(0, max([*ratios, *bounds, 1.2]) * 1.5)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)


def _rank(figure: Figure) -> int:
    if figure.contender.startswith("botsession"):
        return 0
    return 1 if figure.against == (figure.contender, figure.case) else 2


def _finite(value: Any) -> float:
    return float(value) if value is not None and math.isfinite(value) else 0.0
