"""How many sessions there are, how large, how busy, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from botsession.protocol import SessionStore
from botsession.session import SessionInfo
from botsession_operations.clock import now
from botsession_operations.listing import pages

SIZES: Final = tuple(256 * 4**capability for capability in range(8))
"""The upper bounds of the histogram of sizes, in bytes, from 256 bytes to 4 MiB."""

SPANS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
"""The lengths of time by which deadlines are counted."""


@dataclass(slots=True)
class Statistics:
    """What a store holds.

    Attributes:
        sessions: How many sessions were found.
        unreadable: How many records are no session.
        measured: Of how many sessions the driver told the size.
        size: How many bytes these take together.
        largest: The largest of them; `None` where no size was told.
        sizes: How many sessions have up to so many bytes, and more than the bound before; `None` is above all bounds.
        active: How many sessions were last active on a day, in UTC.
        ending: How many sessions end within the hour, or else the day, or else the week, or `later`, or `never`.
    """

    sessions: int = 0
    unreadable: int = 0
    measured: int = 0
    size: int = 0
    largest: SessionInfo | None = None
    sizes: Counter[int | None] = field(default_factory=Counter)
    active: Counter[date] = field(default_factory=Counter)
    ending: Counter[str] = field(default_factory=Counter)

    def add(self, info: SessionInfo, now: datetime) -> None:
        """Counts one session."""
        self.sessions += 1
        self.active[info.last_activity.date()] += 1
        self.ending[_ending(info, now)] += 1
        if info.size is None:
            return
        self.measured += 1
        self.size += info.size
        self.sizes[next((bound for bound in SIZES if info.size <= bound), None)] += 1
        if self.largest is None or info.size > (self.largest.size or 0):
            self.largest = info


async def statistics(
    store: SessionStore, prefix: str = "", *, told: Callable[[int], object] | None = None
) -> Statistics:
    """Counts the sessions of a store.

    Args:
        store: The store, open.
        prefix: How the ids begin.
        told: Called after each page with how many sessions were in it.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreError: The backend failed.
    """
    found = Statistics()
    moment = now(store)
    async for page in pages(store, prefix):
        found.unreadable += len(page.unreadable)
        for info in page.sessions:
            found.add(info, moment)
        if told is not None:
            told(len(page.sessions))
    return found


def _ending(info: SessionInfo, now: datetime) -> str:
    if info.expires_at is None:
        return "never"
    left = info.expires_at - now
    return next((name for name, span in SPANS.items() if left <= span), "later")
