"""Discovery: open one driver by name with 300 additional distributions installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, Figures
from benchmarks.plan import Plan

MORE = 300

_PROGRAM: Final = """
import time
import botsession

begin = time.perf_counter()
botsession.open_store("memory")
print((time.perf_counter() - begin) * 1000)
"""


def measure(plan: Plan, figures: Figures) -> None:
    """Measure discovery, from the name to the store."""
    if "memory" not in plan.backends:
        return
    with tempfile.TemporaryDirectory(prefix="botsession-bench-") as folder:
        site = Path(folder, "site")
        site.mkdir()
        _install(site)
        path = os.environ.get("PYTHONPATH", "")
        few, many = "as installed", f"{MORE} more distributions"
        paths = {few: path, many: f"{path}{os.pathsep}{site}"}
        times: dict[str, list[float]] = {case: [] for case in paths}
        for _ in range(plan.rounds):
            for case, each in paths.items():
                output = subprocess.run(
                    [sys.executable, "-c", _PROGRAM],
                    check=True,
                    capture_output=True,
                    text=True,
                    env={**os.environ, "PYTHONPATH": each},
                    cwd=folder,
                )
                times[case].append(float(output.stdout))
        for case, numbers in times.items():
            figures.add(Figure("open a driver", "memory", "botsession", case, "ms", numbers, ("botsession", few)))


def _install(folder: Path) -> None:
    """Create the metadata of installed packages, a third of which have unrelated entry points."""
    for number in range(MORE):
        info = folder / f"pretended_{number}-1.0.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: pretended-{number}\nVersion: 1.0\n\n{'Words. ' * 500}\n"
        )
        info.joinpath("RECORD").write_text("")
        if number % 3 == 0:
            info.joinpath("entry_points.txt").write_text(
                f"[console_scripts]\npretended-{number} = pretended:main\n\n[pytest11]\npretended = pretended\n"
            )
