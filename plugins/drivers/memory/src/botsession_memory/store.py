"""The store of the driver `memory`."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, Self

from botsession import (
    ONE_YEAR,
    Claim,
    Clock,
    ConfigError,
    Finding,
    Held,
    Lifetime,
    Minutes,
    SessionConflictError,
    StoreError,
    utc_now,
)
from botsession.storage import Change, Entry, LeasingRecordStore
from botsession.storage.binding import LoopBinding
from botsession.storage.leases import LeaseTable
from botsession_memory.cache import RecordCache

_PAGE: Final = 1000


class MemorySessionStore(LeasingRecordStore):
    """Keeps sessions in this process; they end with it.

    Sessions are kept as text, so each read returns a private copy. If there are more than `max_size`, the least recently used
    are dropped.

    Args:
        max_size: How many sessions to keep.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the present moment, with a time zone.

    Attributes:
        lifetime: How long sessions are kept.
        in_process: Whether the sessions belong to one process alone.
        quarantined: The unreadable texts, by session id and a suffix.

    Raises:
        ConfigError: `max_size` or a number of minutes is not above zero.
    """

    in_process: Final = True

    def __init__(
        self,
        max_size: int = 10_000,
        expires_in: Minutes | None = ONE_YEAR,
        *,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        if max_size < 1:
            raise ConfigError(f"max_size is not a number of sessions above zero: {max_size}")
        lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        super().__init__(f"MemorySessionStore(max_size={max_size})", lifetime)
        self.quarantined: dict[str, bytes] = {}
        self._records = RecordCache(max_size, lifetime)
        self._leases = LeaseTable()
        self._listed: list[str] | None = None
        self._open = False
        self._binding = LoopBinding("the memory store")

    @property
    def evictions(self) -> int:
        """How many sessions were dropped for lack of room before they expired."""
        return self._records.evictions

    async def init(self) -> Self:
        self._binding.enter()
        self._open = True
        return self

    async def close(self) -> None:
        if not self._binding.is_inherited:
            self._binding.enter()
        self._binding.leave()
        self._open = False

    async def ping(self) -> None:
        self._check()

    async def purge(self) -> int:
        self._check()
        self._leases.purge(time.monotonic())
        return self._records.purge()

    async def diagnose(self) -> list[Finding]:
        from botsession_memory.diagnosis import diagnose

        self._check()
        return diagnose(kept=len(self._records), max_size=int(self._records.maxsize), evictions=self.evictions)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("the memory store is not open", remedy="Call `await store.init()` first.")
        self._binding.enter()

    async def _load(self, session_ids: Sequence[str]) -> list[bytes | None]:
        return [self._records.find(session_id) for session_id in session_ids]

    async def _load_one(self, session_id: str) -> bytes | None:
        return self._records.find(session_id)

    async def _apply(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        return [await self._apply_one(change) for change in changes]

    async def _apply_one(self, change: Change) -> SessionConflictError | None:
        session_id, holder = change.session_id, change.holder
        now = time.monotonic()
        if holder is not None and not self._leases.is_held_by(session_id, holder, now):
            return SessionConflictError(session_id)
        if not change.allows(self._records.peek(session_id, change.now)):
            return SessionConflictError(session_id)
        if change.record is None:
            self._records.pop(session_id, None)
        else:
            self._records.put(session_id, change.record, change.expires_at, change.now)
        if holder is not None:
            self._leases.release(session_id, holder, now)
        elif change.record is None:
            self._leases.end(session_id, now)
        return None

    async def _page(self, prefix: str, after: str | None, limit: int | None) -> tuple[list[Entry], str | None]:
        # Sorted once per scan. Concurrent scans may share the list: it holds whatever is there from first page to last.
        if after is None or self._listed is None:
            self._listed = sorted(self._records)
        first = bisect_left(self._listed, prefix)
        if after is not None:
            first = max(first, bisect_right(self._listed, after))
        page = self._listed[first : first + (limit or _PAGE)]
        more = first + len(page) < len(self._listed) and page[-1].startswith(prefix)
        if not more:
            self._listed = None
        found = [(session_id, self._records.peek(session_id)) for session_id in page]
        entries = [Entry(session_id, record, len(record)) for session_id, record in found if record is not None]
        return entries, page[-1] if more else None

    async def _set_aside(self, session_id: str, record: bytes, suffix: str) -> str:
        name = f"{session_id}@{suffix}"
        self.quarantined[name] = record
        self._records.pop(session_id)
        return f"quarantined[{name!r}] of this {self._name}"

    async def _claim(self, claims: Sequence[Claim]) -> list[Held | bytes | None]:
        now = time.monotonic()
        return [self._leases.claim(claim, now) or self._records.find(claim.session_id) for claim in claims]

    async def _renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        now = time.monotonic()
        return [self._leases.renew(session_id, holder, now, ttl=ttl) for session_id, holder in holders.items()]

    async def _release_leases(self, holders: Mapping[str, str]) -> None:
        now = time.monotonic()
        for session_id, holder in holders.items():
            self._leases.release(session_id, holder, now)
