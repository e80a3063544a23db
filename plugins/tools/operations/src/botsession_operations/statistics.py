"""Number, size, activity and remaining lifetime of the sessions in a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from botsession.protocol import SessionStore
from botsession.session import SessionInfo
from botsession_operations.listing import now, pages

SIZES: Final = tuple(256 * 4**power for power in range(8))
"""Upper bounds of the size histogram, in bytes, from 256 bytes to 4 MiB."""

SPANS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
"""Spans of time by which deadlines are counted."""


@dataclass(slots=True)
class Statistics:
    """What a store contains.

    Attributes:
        sessions: Number of sessions.
        unreadable: Number of records that are not sessions.
        measured: Number of sessions for which the driver reports a size.
        size: Total size of these, in bytes.
        largest: The largest of these; `None` if no size was reported.
        sizes: Number of sessions by the smallest bound in `SIZES` that they do not exceed; `None` counts those above all.
        active: Number of sessions by the UTC day of their last activity.
        ending: Number of sessions that end within the next hour, day, or week, `later`, or `never`; each counts once.
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
        """Count one session."""
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
    store: SessionStore, prefix: str = "", *, progress: Callable[[int], object] | None = None
) -> Statistics:
    """Count the sessions of a store.

    Args:
        store: The open store.
        prefix: Only ids that start with this.
        progress: Called after each page with the number of sessions in it.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreError: The backend failed.
    """
    result = Statistics()
    moment = now(store)
    async for page in pages(store, prefix):
        result.unreadable += len(page.unreadable)
        for info in page.sessions:
            result.add(info, moment)
        if progress is not None:
            progress(len(page.sessions))
    return result


def _ending(info: SessionInfo, now: datetime) -> str:
    if info.expires_at is None:
        return "never"
    left = info.expires_at - now
    return next((name for name, span in SPANS.items() if left <= span), "later")
