"""The store of the driver `mirror`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self, cast

from botsession.errors import (
    ConfigError,
    CorruptSessionError,
    SessionConflictError,
    UnsupportedError,
)
from botsession.protocol import (
    CAPABILITIES,
    ScanPage,
    SessionStore,
    Step,
    StoredSession,
    SupportsClose,
    SupportsPing,
    SupportsScan,
)
from botsession.session import SessionInfo
from botsession.storage import records
from botsession_operations.mirror.copies import (
    ATTEMPTS,
    Copying,
    Whole,
    remove,
)
from botsession_operations.mirror.marks import is_copy, kept, placeholder

if TYPE_CHECKING:
    from datetime import datetime

    from botsession.lifetime import Lifetime

Lead = Literal["old", "new"]

_NEEDED: Final = ("expiry", "replace", "touch", "commit")


class MirrorSessionStore:
    """Keeps sessions in two stores at once, so that bots can move from the old one to the new one while they run.

    Each session has one store that leads it: there conflicts are decided, and from there it is read. The other store has a
    copy. While `lead` is `old`, the old store leads what nobody has handed over yet. Where `lead` is `new`, a session is
    handed over to the new store before it is written. Mirrors of both kinds may work beside each other, in any number of
    processes, and no turn is lost. Beside a mirror with `lead="old"` bots may use the old store by itself, beside those
    with `lead="new"`, once there are no others, the new store by itself.

    A new store that fails does not disturb sessions that the old one leads: what it misses is counted in `missed` and told
    in the log. Everything else that fails is raised.

    Args:
        old: The store to move away from.
        new: The store to move to. It must keep sessions for the same time.
        lead: Which store is to lead.

    Attributes:
        lead: Which store is to lead.

    Raises:
        ConfigError: `lead` is neither, or the stores keep sessions for different times.
        UnsupportedError: A store lacks one of the capabilities `expiry`, `replace`, `touch` and `restore`.
    """

    def __init__(self, old: SessionStore, new: SessionStore, *, lead: Lead = "old") -> None:
        if lead not in ("old", "new"):
            raise ConfigError(f"lead is 'old' or 'new'; got {lead!r}")
        self._old = _whole(old)
        self._new = _whole(new)
        self.lead: Final[Lead] = lead
        _check_lifetimes(self._old.lifetime, self._new.lifetime)
        self._copies = Copying(self._old, self._new)

    def __repr__(self) -> str:
        return f"MirrorSessionStore({self._old!r}, {self._new!r}, lead={self.lead!r})"

    @property
    def lifetime(self) -> Lifetime:
        """How long sessions are kept: what the store says that is to lead."""
        return (self._new if self.lead == "new" else self._old).lifetime

    @property
    def missed(self) -> int:
        """How many copies into the new store failed, while the old one led."""
        return self._copies.missed

    async def init(self) -> Self:
        try:
            await self._old.init()
            await self._new.init()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        for store in (self._new, self._old):
            if isinstance(store, SupportsClose):
                await store.close()

    async def ping(self) -> None:
        for store in (self._old, self._new):
            if isinstance(store, SupportsPing):
                await store.ping()

    async def read(self, session_id: str) -> StoredSession | None:
        """Returns the session from the store that leads it; brings the copy in the new store up to date."""
        found = await self._old.read(session_id)
        if self._is_led_by_new(found):
            return Copying.counts(await self._new.read(session_id), found)
        if found is not None:
            await self._copies.try_to_new(session_id)
        return found

    async def write(self, session_id: str, session: StoredSession) -> None:
        records.check_pair(session_id, session)
        for _ in range(ATTEMPTS):
            try:
                found = await self._old.read(session_id)
            except CorruptSessionError:
                await self._old.write(session_id, session)
                found = await self._old.read(session_id)
            try:
                if not self._is_led_by_new(found) and self.lead == "old":
                    await self._old.replace(session_id, session, expected=None if found is None else found.version)
                    await self._copies.try_to_new(session_id)
                    return
                if await self._leader(session_id) is self._new:
                    await self._new.write(session_id, session)
                    await self._confirm(session_id, session)
                    return
            except SessionConflictError:
                continue
        raise SessionConflictError(session_id)

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        records.check_pair(session_id, session)
        if await self._leader(session_id) is self._old:
            try:
                await self._old.replace(session_id, session, expected=expected)
            except SessionConflictError:
                if await self._leader(session_id) is self._old:
                    raise
            else:
                await self._copies.try_to_new(session_id)
                return
        try:
            await self._new.replace(session_id, session, expected=expected)
        except SessionConflictError:
            if not await self._copies.settle(session_id):
                raise
            await self._new.replace(session_id, session, expected=expected)
        await self._confirm(session_id, session)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        found = await self._old.read(session_id)
        if not self._is_led_by_new(found):
            if not await self._old.touch(session_id, expires_at):
                return False
            found = await self._old.read(session_id)
            if found is None or not is_copy(found):
                await self._copies.try_to_new(session_id)
                return True
        if Copying.counts(await self._new.read(session_id), found) is None:
            return False
        if not await self._new.touch(session_id, expires_at):
            return False
        await self._copies.to_old(session_id)
        return True

    async def destroy(self, session_id: str) -> None:
        """Removes the session from both stores; an error says that it may still be in the new one: call it again."""
        for _ in range(ATTEMPTS):
            await self._old.destroy(session_id)
            await self._new.destroy(session_id)
            try:
                found = await self._old.read(session_id)
            except CorruptSessionError:
                return
            if found is None or not is_copy(found):
                return

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Lists the sessions of the store that is to lead; of a copy there it tells the session that it is a copy of."""
        store = self._new if self.lead == "new" else self._old
        if not isinstance(store, SupportsScan):
            raise UnsupportedError(f"{store!r} cannot list its sessions: it lacks the capability 'scan'")
        page = await store.scan(prefix, after=after, limit=limit)
        sessions: list[SessionInfo] = []
        for info in page.sessions:
            sessions += await self._infos(info.id) if is_copy(info) else [info]
        return ScanPage(sessions, page.next, page.unreadable)

    async def hand_over(self, session_id: str) -> bool:
        """Makes the new store lead a session that is in the old one, whatever `lead` says, and ends its copy there.

        When this was done for every session of both stores, while no mirror with `lead="old"` was left, bots can use the new
        store by itself; see `botsession_operations.hand_over`.

        Returns:
            Whether the old store led it.

        Raises:
            StoreError: One of the stores failed.
        """
        found = await self._old.read(session_id)
        if found is not None:
            await self._take_over(session_id)
        await self._copies.settle(session_id)
        return found is not None and not is_copy(found)

    def _is_led_by_new(self, found: StoredSession | None) -> bool:
        """Tells which store leads a session, from what the old store holds."""
        return self.lead == "new" if found is None else is_copy(found)

    async def _leader(self, session_id: str) -> Whole:
        """Returns the store that decides about a session now; hands it over first where the new one is to lead."""
        if self.lead == "new":
            await self._take_over(session_id)
            return self._new
        found = await self._old.read(session_id)
        return self._new if self._is_led_by_new(found) else self._old

    async def _take_over(self, session_id: str) -> None:
        """Makes the new store lead: from then on the old one holds a copy."""
        for _ in range(ATTEMPTS):
            found = await self._old.read(session_id)
            if found is not None and is_copy(found):
                return
            if found is None:
                copy = placeholder(session_id, self.lifetime.now())
            else:
                await self._copies.to_new(session_id)
                copy = kept(found)
            [outcome] = await self._old.commit([Step.restore(copy, found)])
            if outcome is None:
                return
            if not isinstance(outcome, SessionConflictError):
                raise outcome
        raise SessionConflictError(session_id)

    async def _confirm(self, session_id: str, session: StoredSession) -> None:
        """Brings the copy in the old store up to date after the new store has decided.

        Where it is gone, somebody has destroyed the session and somebody else created it anew in the old store, all of it
        since the copy was seen: then the old store leads, and what was just stored in the new one is taken back.
        """
        if not await self._copies.to_old(session_id):
            await remove(self._new, session)
            await self._copies.try_to_new(session_id)
            raise SessionConflictError(session_id)

    async def _infos(self, session_id: str) -> list[SessionInfo]:
        found = await self.read(session_id)
        if found is None:
            return []
        return [SessionInfo(found.id, found.created_at, found.last_activity, found.expires_at, found.version)]


def _whole(store: SessionStore) -> Whole:
    for capability in _NEEDED:
        if not isinstance(store, CAPABILITIES[capability]):
            raise UnsupportedError(f"{store!r} cannot be mirrored: it lacks the capability {capability!r}")
    return cast("Whole", store)


def _check_lifetimes(old: Lifetime, new: Lifetime) -> None:
    for name in ("expires_in", "max_lifetime"):
        if getattr(old, name) != getattr(new, name):
            raise ConfigError(f"the two stores of a mirror need the same {name}: give it once, beside `driver`")
