"""The results as JSON and as Markdown tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.figures import Figure, Figures
from benchmarks.targets import checked

REMARK = (
    "The bare client runs the same turn without compare-and-set, serialization of turns or validation. "
    "Figures are medians of interleaved rounds; `x` is the ratio to the bare client, the median of the rounds' ratios."
)


def write(folder: Path, header: Mapping[str, str], figures: Figures) -> None:
    """Write `results.json` and `results.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"header": dict(header), "figures": figures.as_json()}
    folder.joinpath("results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    folder.joinpath("results.md").write_text("\n".join(_markdown(header, figures)) + "\n", encoding="utf-8")


def _markdown(header: Mapping[str, str], figures: Figures) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield from (f"- {name}: {value}" for name, value in header.items())
    yield from ("", REMARK, "")
    yield from (
        "## Targets",
        "",
        "| backend | figure | case | contender | ratio | target | |",
        "| - | - | - | - | -: | - | - |",
    )
    for figure, ratio, target in checked(figures):
        met = "met" if target.is_met(ratio) else "**missed**"
        who, what = figure.contender, figure.measure
        yield f"| {figure.backend} | {what} | {figure.case} | {who} | {ratio:.2f}x | {target} | {met} |"
    for measure in dict.fromkeys(figure.measure for figure in figures):
        yield ""
        yield from _table(measure, figures)


def _table(measure: str, figures: Figures) -> Iterator[str]:
    rows = [figure for figure in figures if figure.measure == measure]
    cases = list(dict.fromkeys(figure.case for figure in rows))
    yield f"## {measure[0].upper()}{measure[1:]} ({rows[0].unit})"
    yield ""
    yield "| backend | contender | " + " | ".join(cases) + " |"
    yield "| - | - |" + " -: |" * len(cases)
    notes: list[str] = []
    for backend, contender in dict.fromkeys((figure.backend, figure.contender) for figure in rows):
        cells = [_cell(figures, figures.find(measure, backend, contender, case), notes) for case in cases]
        yield f"| {backend} | {contender} | " + " | ".join(cells) + " |"
    if notes:
        yield ""
        yield from (f"{number}. {note}" for number, note in enumerate(notes, 1))


def _cell(figures: Figures, figure: Figure | None, notes: list[str]) -> str:
    if figure is None:
        return ""
    text = number(figure.median)
    ratio = figures.ratio(figure)
    if ratio is not None and figure.against != (figure.contender, figure.case):
        text += f" ({ratio:.2f}x)"
    if figure.note:
        if figure.note not in notes:
            notes.append(figure.note)
        text += f" [{notes.index(figure.note) + 1}]"
    return text


def number(value: float) -> str:
    """Return a number with three significant digits, or with all digits before the decimal point."""
    if math.isnan(value):
        return "none"
    digits = max(0, 2 - int(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"
