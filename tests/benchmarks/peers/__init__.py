"""Other libraries with their own defaults, one file each. Those that are not installed are skipped."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Final

from benchmarks.contender import Contender
from benchmarks.place import Place
from benchmarks.workload import Workload

_LIBRARIES: Final = ("aiogram", "litestar", "starsessions", "key_value", "aiocache", "cashews")


def peers(place: Place, workload: Workload) -> Sequence[Contender]:
    """Return the installed peers that support the backend."""
    found: list[Contender] = []
    for library in _LIBRARIES:
        if importlib.util.find_spec(library) is not None:
            module = importlib.import_module(f"benchmarks.peers.{library}")
            found += [kind(place, workload) for kind in module.KINDS.get(place.backend, ())]
    return found
