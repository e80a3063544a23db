"""The mirror: sessions in two stores, each led by one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self, cast

from botsession.errors import (
    ConfigError,
    CorruptSessionError,
    SessionConflictError,
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
    unsupported,
)
from botsession.session import SessionInfo
from botsession.storage import records
from botsession_operations.mirror.copies import (
    ATTEMPTS,
    Copier,
    MirrorableStore,
    remove,
)
from botsession_operations.mirror.marks import as_kept_copy, is_copy, placeholder

if TYPE_CHECKING:
    from datetime import datetime

    from botsession.lifetime import Lifetime

Lead = Literal["old", "new"]

_NEEDED: Final = ("expiry", "replace", "touch", "commit")


class MirrorSessionStore:
    """Keeps sessions in two stores, so that bots can move from the old one to the new one without stopping.

    One of the two stores leads each session: it decides conflicts, and sessions are read from it. The other store has a copy.
    With `lead="old"`, the old store leads every session that has not been handed over. With `lead="new"`, a session is handed
    over to the new store before it is written. Mirrors of both kinds can run concurrently, in any number of processes, and
    lose no turn. While there are mirrors with `lead="old"`, bots may also use the old store directly; once all mirrors have
    `lead="new"`, bots may also use the new store directly.

    A failure of the new store does not affect sessions that the old one leads: the missed copy is logged and counted in
    `missed`. All other failures are raised.

    Args:
        old: The store to move away from.
        new: The store to move to. It must keep sessions for the same time.
        lead: Which store is to lead.

    Attributes:
        lead: Which store is to lead.

    Raises:
        ConfigError: `lead` is neither `old` nor `new`, or the stores keep sessions for different times.
        UnsupportedError: A store lacks one of the capabilities `expiry`, `replace`, `touch` and `commit`.
    """

    def __init__(self, old: SessionStore, new: SessionStore, *, lead: Lead = "old") -> None:
        if lead not in ("old", "new"):
            raise ConfigError(f"lead must be 'old' or 'new', not {lead!r}")
        self._old = _mirrorable(old)
        self._new = _mirrorable(new)
        self.lead: Final[Lead] = lead
        _check_lifetimes(self._old.lifetime, self._new.lifetime)
        self._copies = Copier(self._old, self._new)

    def __repr__(self) -> str:
        return f"MirrorSessionStore({self._old!r}, {self._new!r}, lead={self.lead!r})"

    @property
    def lifetime(self) -> Lifetime:
        """How long sessions are kept, by the store that is to lead."""
        return (self._new if self.lead == "new" else self._old).lifetime

    @property
    def missed(self) -> int:
        """Number of copies to the new store that failed while the old one led."""
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
        """Return the session from the store that leads it, and update the copy in the new store."""
        found = await self._old.read(session_id)
        if self._is_led_by_new(found):
            return Copier.resolve(await self._new.read(session_id), found)
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
        if Copier.resolve(await self._new.read(session_id), found) is None:
            return False
        if not await self._new.touch(session_id, expires_at):
            return False
        await self._copies.to_old(session_id)
        return True

    async def destroy(self, session_id: str) -> None:
        """Destroy the session in both stores. After an error it may still be in the new one; repeat the call."""
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
        """List the sessions of the store that is to lead; a copy is resolved to the session it stands for."""
        store = self._new if self.lead == "new" else self._old
        if not isinstance(store, SupportsScan):
            raise unsupported(store, "scan", "list its sessions")
        page = await store.scan(prefix, after=after, limit=limit)
        sessions: list[SessionInfo] = []
        for info in page.sessions:
            sessions += await self._infos(info.id) if is_copy(info) else [info]
        return ScanPage(sessions, page.next, page.unreadable)

    async def hand_over(self, session_id: str) -> bool:
        """Make the new store lead a session, whatever `lead` says, and turn its copy there into the session.

        Once this was done for every session of both stores, with no mirror with `lead="old"` left, bots can use the new store
        directly; see `botsession_operations.hand_over`.

        Returns:
            Whether the old store led it until now.

        Raises:
            StoreError: One of the stores failed.
        """
        found = await self._old.read(session_id)
        if found is not None:
            await self._take_over(session_id)
        await self._copies.settle(session_id)
        return found is not None and not is_copy(found)

    def _is_led_by_new(self, found: StoredSession | None) -> bool:
        """Return whether the new store leads a session, given its record in the old store."""
        return self.lead == "new" if found is None else is_copy(found)

    async def _leader(self, session_id: str) -> MirrorableStore:
        """Return the store that leads a session, after handing it over if the new one is to lead."""
        if self.lead == "new":
            await self._take_over(session_id)
            return self._new
        found = await self._old.read(session_id)
        return self._new if self._is_led_by_new(found) else self._old

    async def _take_over(self, session_id: str) -> None:
        """Make the new store lead a session, by turning its record in the old store into a copy."""
        for _ in range(ATTEMPTS):
            found = await self._old.read(session_id)
            if found is not None and is_copy(found):
                return
            if found is None:
                copy = placeholder(session_id, self.lifetime.now())
            else:
                await self._copies.to_new(session_id)
                copy = as_kept_copy(found)
            [outcome] = await self._old.commit([Step.restore(copy, found)])
            if outcome is None:
                return
            if not isinstance(outcome, SessionConflictError):
                raise outcome
        raise SessionConflictError(session_id)

    async def _confirm(self, session_id: str, session: StoredSession) -> None:
        """Update the copy in the old store after a write to the new one.

        If the copy is gone, the session was destroyed and created again in the old store since the copy was read. The old
        store leads it then, and what was just written to the new one is removed.
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


def _mirrorable(store: SessionStore) -> MirrorableStore:
    for capability in _NEEDED:
        if not isinstance(store, CAPABILITIES[capability]):
            raise unsupported(store, capability, "be mirrored")
    return cast("MirrorableStore", store)


def _check_lifetimes(old: Lifetime, new: Lifetime) -> None:
    for name in ("expires_in", "max_lifetime"):
        if getattr(old, name) != getattr(new, name):
            raise ConfigError(
                f"the two stores of a mirror need the same {name}", remedy=f"Set {name} once, at the top level."
            )
