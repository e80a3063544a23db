"""Run the benchmarks: `python -m benchmarks`, or `nox -s bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import plot, report
from benchmarks.figures import Figures
from benchmarks.machine import header
from benchmarks.measures import MEASURES
from benchmarks.place import BACKENDS
from benchmarks.plan import Plan

RESULTS: Final = Path(__file__).parent / "results"


def main(arguments: Sequence[str]) -> int:
    """Run the selected measures and write the results, even after an interrupt."""
    options = _parser().parse_args(arguments)
    plan = Plan(options.full, options.backend or BACKENDS, peers=not options.no_peers)
    figures = Figures()
    about = header(arguments)
    begin = time.perf_counter()
    try:
        for name, measure in MEASURES.items():
            if not options.only or name in options.only:
                _say(begin, name)
                measure(plan, figures)
    except KeyboardInterrupt:
        about["interrupted"] = "yes; the results are incomplete"
        return 130
    finally:
        report.write(options.results, about, figures)
        drawn = plot.write(options.results, about, figures)
        _say(begin, f"{options.results / 'results.md'}{' and .svg, .png' if drawn else ''}")
    return 0


def _say(begin: float, what: str) -> None:
    sys.stdout.write(f"{time.perf_counter() - begin:6.1f} s  {what}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="measure everything; takes about half an hour")
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="measure only this backend; may be repeated"
    )
    parser.add_argument(
        "--only", action="append", choices=list(MEASURES), help="run only this measure; may be repeated"
    )
    parser.add_argument("--no-peers", action="store_true", help="skip other libraries")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
