"""The store of the driver `memory`."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cachetools import Cache, TLRUCache

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    CorruptSessionError,
    Finding,
    Lifetime,
    Minutes,
    ScanPage,
    SessionConflictError,
    StoreError,
    records,
    utc_now,
)
from botsession.ids import check_session_id
from botsession_memory.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from botsession import Replacement, Restoration, SessionInfo, StoredSession

_PAGE: Final = 1000
_logger = logging.getLogger("botsession.memory")


class _Entry(NamedTuple):
    raw: bytes
    deadline: float


class MemorySessionStore:
    """Keeps sessions in this process; they end with it.

    Sessions are kept as encoded bytes, so that what is read is a private copy. When there are more than `max_size`, the
    least recently used go first; `evictions` counts the live ones that went.

    Args:
        max_size: How many sessions to keep.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment in UTC.

    Attributes:
        lifetime: How long sessions are kept.

    Raises:
        ConfigError: `max_size` is not above zero, or a number of minutes is not.
    """

    def __init__(
        self,
        max_size: int = 10_000,
        expires_in: Minutes | None = ONE_YEAR,
        *,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        if max_size < 1:
            raise ConfigError(f"max_size is a number of sessions above zero; got {max_size}")
        self.lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        self._entries = _Entries(max_size, self.lifetime)
        self._listed: list[str] | None = None
        self._open = False

    def __repr__(self) -> str:
        return f"MemorySessionStore(max_size={self._entries.maxsize})"

    @property
    def evictions(self) -> int:
        """How many sessions that had not expired were dropped for lack of room."""
        return self._entries.evictions

    async def init(self) -> Self:
        self._open = True
        return self

    async def close(self) -> None:
        self._open = False

    async def ping(self) -> None:
        self._check_open()

    async def read(self, session_id: str) -> StoredSession | None:
        self._check(session_id)
        return self._read(session_id)

    async def write(self, session_id: str, session: StoredSession) -> None:
        self._entries.put(session_id, self._entry(session_id, session))

    async def destroy(self, session_id: str) -> None:
        self._check(session_id)
        self._entries.pop(session_id, None)

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        self._replace(session_id, self._entry(session_id, session), expected)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        self._check(session_id)
        entry = self._entries.get(session_id)
        if entry is None:
            return False
        raw = records.renew(entry.raw, expires_at=expires_at, last_activity=self.lifetime.now())
        self._entries.put(session_id, _Entry(raw, _deadline(expires_at)))
        return True

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        self._check_open()
        # Sorted once per scan: whatever stays until the last page is in the list, whichever scan has made it.
        if after is None or self._listed is None:
            self._listed = sorted(self._entries.all_ids())
        first = bisect_left(self._listed, prefix)
        if after is not None:
            first = max(first, bisect_right(self._listed, after))
        page = self._listed[first : first + (_PAGE if limit is None else max(1, limit))]
        matching = [session_id for session_id in page if session_id.startswith(prefix)]
        more = len(matching) == len(page) and first + len(page) < len(self._listed)
        if not more:
            self._listed = None
        return ScanPage.of(map(self._info, matching), page[-1] if more else None)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        for session_id in session_ids:
            self._check(session_id)
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id in session_ids:
            try:
                outcomes.append(self._read(session_id))
            except CorruptSessionError as error:
                outcomes.append(error)
        return outcomes

    async def replace_many(self, replacements: Sequence[Replacement]) -> list[SessionConflictError | StoreError | None]:
        for replacement in replacements:
            self._check(replacement.session.id)
        entries = [self._entry(replacement.session.id, replacement.session) for replacement in replacements]
        return [
            self._outcome(replacement.session.id, entry, replacement.expected)
            for entry, replacement in zip(entries, replacements, strict=True)
        ]

    async def restore_many(self, restorations: Sequence[Restoration]) -> list[SessionConflictError | StoreError | None]:
        self._check_open()
        for restoration in restorations:
            records.check_restored(restoration.session)
        entries = [_encoded(restoration.session) for restoration in restorations]
        return [
            self._outcome(restoration.session.id, entry, restoration.over)
            for entry, restoration in zip(entries, restorations, strict=True)
        ]

    async def destroy_many(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._check(session_id)
        for session_id in session_ids:
            self._entries.pop(session_id, None)

    async def purge(self) -> int:
        self._check_open()
        return len(self._entries.expire())

    async def diagnose(self) -> list[Finding]:
        self._check_open()
        return diagnose(kept=len(self._entries), max_size=int(self._entries.maxsize), evictions=self.evictions)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("the memory store is not open; call `await store.init()` first")

    def _check(self, session_id: str) -> None:
        self._check_open()
        check_session_id(session_id)

    def _info(self, session_id: str) -> SessionInfo | CorruptSessionError | None:
        entry = self._entries.peek(session_id)
        try:
            return entry and records.decode_info(entry.raw, session_id, store=repr(self), size=len(entry.raw))
        except CorruptSessionError as error:
            return error

    def _read(self, session_id: str) -> StoredSession | None:
        entry = self._entries.get(session_id)
        return None if entry is None else records.decode(entry.raw, session_id, store=repr(self))

    def _replace(self, session_id: str, entry: _Entry, expected: str | StoredSession | SessionInfo | None) -> None:
        stored = self._entries.get(session_id)
        if stored is None:
            unchanged = expected is None
        elif expected is None or isinstance(expected, str):
            unchanged = expected is not None and records.has_version(stored.raw, expected)
        else:
            unchanged = records.is_untouched(stored.raw, expected)
        if not unchanged:
            raise SessionConflictError(session_id)
        self._entries.put(session_id, entry)

    def _outcome(
        self, session_id: str, entry: _Entry, expected: str | StoredSession | SessionInfo | None
    ) -> SessionConflictError | None:
        try:
            self._replace(session_id, entry, expected)
        except SessionConflictError as error:
            return error
        return None

    def _entry(self, session_id: str, session: StoredSession) -> _Entry:
        """Returns what to store of a session that is written now."""
        self._check_open()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        return _encoded(session)


def _encoded(session: StoredSession) -> _Entry:
    return _Entry(records.encode(session), _deadline(session.expires_at))


def _deadline(expires_at: datetime | None) -> float:
    return math.inf if expires_at is None else expires_at.timestamp()


class _Entries(TLRUCache[str, _Entry]):
    """The entries by id; counts what it drops for lack of room, and says so once."""

    def __init__(self, max_size: int, lifetime: Lifetime) -> None:
        super().__init__(
            max_size, ttu=lambda _id, entry, _now: entry.deadline, timer=lambda: lifetime.now().timestamp()
        )
        self.evictions = 0

    def put(self, session_id: str, entry: _Entry) -> None:
        """Stores an entry in the place of another; where its deadline has passed, none of them stays."""
        if entry.deadline > self.timer():
            self[session_id] = entry
        else:  # before its version 8, cachetools would keep the old one
            self.pop(session_id, None)

    def all_ids(self) -> Iterator[str]:
        """Returns the ids of all entries, expired ones too; asks no clock for each of them."""
        return Cache.__iter__(self)

    def peek(self, session_id: str) -> _Entry | None:
        """Returns an entry without making it the most recently used; `None` where it is absent or expired."""
        return Cache.__getitem__(self, session_id) if session_id in self else None

    def popitem(self) -> tuple[str, _Entry]:
        if not self.evictions:
            _logger.warning(
                "more than max_size=%d sessions: the least recently used are dropped although they have not expired",
                self.maxsize,
            )
        self.evictions += 1
        return super().popitem()
