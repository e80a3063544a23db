"""The turn that every contender runs: increment a counter, append to a bounded history."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

EXPIRES_IN: Final = 3600
"""Seconds until a session expires, for contenders that support expiry."""

_TEXT: Final = "What the user said; it is about as long as people write."


@dataclass(frozen=True)
class Workload:
    """States of one size.

    Attributes:
        name: The size, as shown in the tables.
        entries: The length of the history.
    """

    name: str
    entries: int

    def initial(self) -> dict[str, Any]:
        """Return the state of a new session. Its history is full, so that all turns cost the same."""
        return {"count": 0, "name": "Ada", "history": [_entry(number) for number in range(self.entries)]}

    def change(self, state: dict[str, Any]) -> None:
        """Change a state as a handler does."""
        state["count"] += 1
        history = state["history"]
        history.append(_entry(state["count"]))
        del history[: -self.entries]


SMALL: Final = Workload("1 KB", 10)
LARGE: Final = Workload("16 KB", 160)


def session_ids(count: int) -> list[str]:
    """Return ids in a random but reproducible order."""
    ids = [f"bench:{number}" for number in range(count)]
    random.Random(4).shuffle(ids)
    return ids


def _entry(number: int) -> dict[str, Any]:
    return {"role": "user", "number": 1_000_000 + number, "text": _TEXT}
