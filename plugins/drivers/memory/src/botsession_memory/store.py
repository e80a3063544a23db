"""The store of the driver `memory`."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from cachetools import Cache, TLRUCache

from botsession import (
    ONE_YEAR,
    Clock,
    ConfigError,
    CorruptSessionError,
    Finding,
    Held,
    Lifetime,
    Minutes,
    Removal,
    ScanPage,
    SessionConflictError,
    StoreError,
    utc_now,
)
from botsession.configuration.limits import check_page_size
from botsession.ids import check_session_id
from botsession.lifetime import new_version
from botsession.storage import records
from botsession.storage.binding import LoopBinding
from botsession.storage.leases import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from botsession import (
        Claim,
        Replacement,
        Restoration,
        SessionInfo,
        StoredSession,
    )

_PAGE: Final = 1000
_LOOKED_AT: Final = 2
"""How many leases each new one looks at: with more than one, those of the dead go faster than they come."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_logger = logging.getLogger("botsession.memory")


_Entry = tuple[bytes, datetime]
"""The bytes of a session, and its deadline."""


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
        quarantined: What was unreadable and put aside, by session id and a random part.

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
        self._name = f"MemorySessionStore(max_size={max_size})"
        self.quarantined: dict[str, bytes] = {}
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._listed: list[str] | None = None
        self._open = False
        self._binding = LoopBinding("the memory store")

    def __repr__(self) -> str:
        return self._name

    @property
    def evictions(self) -> int:
        """How many sessions that had not expired were dropped for lack of room."""
        return self._entries.evictions

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

    async def read(self, session_id: str) -> StoredSession | None:
        self._check(session_id)
        return self._read(session_id)

    async def write(self, session_id: str, session: StoredSession) -> None:
        self._entries.put(session_id, self._entry(session_id, session))

    async def destroy(self, session_id: str) -> None:
        self._check(session_id)
        self._remove(Removal(session_id))

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        self._replace(session_id, self._entry(session_id, session), expected)

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        for claim in claims:
            self._check(claim.session_id)
        return [self._claim(claim) for claim in claims]

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        for session_id in holders:
            self._check(session_id)
        return [self._renew(session_id, holder, ttl) for session_id, holder in holders.items()]

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        for session_id in holders:
            self._check(session_id)
        for session_id, holder in holders.items():
            self._release(session_id, holder)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        self._check(session_id)
        stored = self._entries.find(session_id)
        if stored is None:
            return False
        records.decode(stored, session_id, store=self._name)
        raw = records.renew(stored, expires_at=expires_at, last_activity=self.lifetime.now())
        self._entries.put(session_id, (raw, expires_at or _NEVER))
        return True

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        self._check()
        check_page_size(limit)
        # Sorted once per scan: whatever stays until the last page is in the list, whichever scan has made it.
        if after is None or self._listed is None:
            self._listed = sorted(self._entries.all_ids())
        first = bisect_left(self._listed, prefix)
        if after is not None:
            first = max(first, bisect_right(self._listed, after))
        page = self._listed[first : first + (limit or _PAGE)]
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
        self.lifetime.stamp_all([replacement.session for replacement in replacements])
        entries = [_encoded(replacement.session) for replacement in replacements]
        return [
            self._outcome(replacement.session.id, entry, replacement.expected, replacement.holder)
            for entry, replacement in zip(entries, replacements, strict=True)
        ]

    async def restore_many(self, restorations: Sequence[Restoration]) -> list[SessionConflictError | StoreError | None]:
        self._check()
        for restoration in restorations:
            records.check_restored(restoration.session)
        entries = [_encoded(restoration.session) for restoration in restorations]
        return [
            self._outcome(restoration.session.id, entry, restoration.over)
            for entry, restoration in zip(entries, restorations, strict=True)
        ]

    async def destroy_many(self, removals: Sequence[Removal]) -> list[SessionConflictError | StoreError | None]:
        for removal in removals:
            self._check(removal.session_id)
        return [self._remove(removal) for removal in removals]

    async def quarantine(self, session_id: str) -> str | None:
        self._check(session_id)
        try:
            self._read(session_id)
        except CorruptSessionError as error:
            name = f"{session_id}@{new_version()}"
            self.quarantined[name] = error.raw
            self._entries.pop(session_id)
            return f"quarantined[{name!r}] of this {self._name}"
        return None

    async def purge(self) -> int:
        self._check()
        self._forget_leases(time.monotonic(), len(self._leases))
        return len(self._entries.expire())

    async def diagnose(self) -> list[Finding]:
        from botsession_memory.diagnosis import diagnose

        self._check()
        return diagnose(kept=len(self._entries), max_size=int(self._entries.maxsize), evictions=self.evictions)

    def _check(self, *session_ids: str) -> None:
        """Refuses what is no session id, and any call outside of `init` and `close` and in another thread or event loop."""
        if not self._open:
            raise StoreError("the memory store is not open; call `await store.init()` first")
        self._binding.enter()
        for session_id in session_ids:
            check_session_id(session_id)

    def _info(self, session_id: str) -> SessionInfo | CorruptSessionError | None:
        raw = self._entries.peek(session_id)
        try:
            return None if raw is None else records.decode_info(raw, session_id, store=self._name, size=len(raw))
        except CorruptSessionError as error:
            return error

    def _read(self, session_id: str) -> StoredSession | None:
        raw = self._entries.find(session_id)
        return None if raw is None else records.decode(raw, session_id, store=self._name)

    def _replace(self, session_id: str, entry: _Entry, expected: str | StoredSession | SessionInfo | None) -> None:
        with self._entries.timer:  # one moment for all of it
            stored = self._entries.find(session_id)
            if stored is None:
                unchanged = expected is None
            elif expected is None or isinstance(expected, str):
                unchanged = expected is not None and records.has_version(stored, expected)
            else:
                unchanged = records.is_untouched(stored, expected)
            if not unchanged:
                raise SessionConflictError(session_id)
            self._entries.put(session_id, entry)

    def _outcome(
        self,
        session_id: str,
        entry: _Entry,
        expected: str | StoredSession | SessionInfo | None,
        holder: str | None = None,
    ) -> SessionConflictError | None:
        if holder is not None and not self._holds(session_id, holder):
            return SessionConflictError(session_id)
        try:
            self._replace(session_id, entry, expected)
        except SessionConflictError as error:
            return error
        if holder is not None:
            self._release(session_id, holder)
        return None

    def _remove(self, removal: Removal) -> SessionConflictError | None:
        session_id, holder = removal.session_id, removal.holder
        if holder is not None and not self._holds(session_id, holder):
            return SessionConflictError(session_id)
        if removal.expected is not None:
            stored = self._entries.find(session_id)
            if stored is None or not records.has_version(stored, removal.expected):
                return SessionConflictError(session_id)
        self._entries.pop(session_id, None)
        if session_id in self._leases:
            if holder is None:
                self._leases[session_id].end()
            self._release(session_id, holder or "")
        return None

    def _holds(self, session_id: str, holder: str) -> bool:
        lease = self._leases.get(session_id)
        return lease is not None and lease.is_held_by(holder, time.monotonic())

    def _renew(self, session_id: str, holder: str, ttl: float) -> bool:
        lease = self._leases.get(session_id)
        return lease is not None and lease.renew(holder, time.monotonic(), ttl=ttl)

    def _claim(self, claim: Claim) -> StoredSession | Held | StoreError | None:
        now = time.monotonic()
        lease = self._leases.get(claim.session_id)
        if lease is None:
            if self._leases:
                self._forget_leases(now, _LOOKED_AT)
            lease = self._leases[claim.session_id] = Lease()
        seconds = lease.claim(claim.holder, now, ttl=claim.ttl, again=claim.again)
        if seconds is not None:
            return Held(seconds, lease.ahead(claim.holder))
        try:
            return self._read(claim.session_id)
        except CorruptSessionError as error:
            return error

    def _forget_leases(self, now: float, most: int) -> None:
        """Forgets leases that are over, and that nobody has given up: of those that were looked at longest ago, so many."""
        for session_id in list(islice(self._leases, most)):
            if self._leases[session_id].is_over(now):
                del self._leases[session_id]
            else:
                self._leases.move_to_end(session_id)

    def _release(self, session_id: str, holder: str) -> None:
        lease = self._leases.get(session_id)
        if lease is None:
            return
        if not lease.queue and lease.holder == holder:
            del self._leases[session_id]
            return
        now = time.monotonic()
        lease.release(holder, now)
        if lease.is_over(now):
            del self._leases[session_id]

    def _entry(self, session_id: str, session: StoredSession) -> _Entry:
        """Returns what to store of a session that is written now."""
        self._check()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        return _encoded(session)


def _encoded(session: StoredSession) -> _Entry:
    return records.encode(session), session.expires_at or _NEVER


class _Entries(TLRUCache[str, bytes]):
    """The bytes of sessions by id; counts what it drops for lack of room, and says so once."""

    def __init__(self, max_size: int, lifetime: Lifetime) -> None:
        self._deadline: Any = _NEVER  # a moment, where the stubs of cachetools know none but float
        now: Callable[[], Any] = lifetime.now
        super().__init__(max_size, ttu=lambda _id, _raw, _now: self._deadline, timer=now)
        self.evictions = 0

    def find(self, session_id: str) -> bytes | None:
        """Returns a session, which is the most recently used then; `None` where it is absent or expired."""
        try:
            return self[session_id]
        except KeyError:
            return None

    def put(self, session_id: str, entry: _Entry) -> None:
        """Stores a session in the place of another; where its deadline has passed, none of them stays."""
        raw, self._deadline = entry
        with self.timer as now:
            if self._deadline > now:
                self[session_id] = raw
            else:  # before its version 8, cachetools would keep the old one
                self.pop(session_id, None)

    def all_ids(self) -> Iterator[str]:
        """Returns the ids of all sessions, expired ones too; asks no clock for each of them."""
        return Cache.__iter__(self)

    def peek(self, session_id: str) -> bytes | None:
        """Returns a session without making it the most recently used; `None` where it is absent or expired."""
        return Cache.__getitem__(self, session_id) if session_id in self else None

    def popitem(self) -> tuple[str, bytes]:
        if not self.evictions:
            _logger.warning(
                "more than max_size=%d sessions: the least recently used are dropped although they have not expired",
                self.maxsize,
            )
        self.evictions += 1
        return super().popitem()
