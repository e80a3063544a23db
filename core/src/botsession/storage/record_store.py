"""A base for drivers whose backend keeps the text of each session.

It is a help and never a duty: any class with the methods of `SessionStore` is a store. A driver that derives from `RecordStore`
provides `init` and five primitives on ids and texts. It gets the store protocol, with `replace`, `touch`, `read_many`, `commit`,
`scan` and `quarantine`. `LeasingRecordStore` adds leases for three more primitives. The base does for every driver what must be
the same in all of them: it checks ids, states and page sizes, stamps, encodes and decodes sessions, hides what has expired, and
turns what is unreadable into `CorruptSessionError`.

A driver overrides a method where its backend has a better way, such as a `touch` that does not load the session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self, TypeVar

import msgspec

from botsession.errors import ConfigError, CorruptSessionError, SessionConflictError, StoreError, StoreUnavailableError
from botsession.ids import check_session_id
from botsession.lifetime import Lifetime, new_version
from botsession.protocol import ANYTHING, Anything, Claim, Held, ScanPage, Step, StoredSession
from botsession.session import SessionInfo
from botsession.storage import records

OutcomeT = TypeVar("OutcomeT")

Found = bytes | StoreError | None
"""The text of a session, `None` if there is none, or why it cannot be read."""


class Change(msgspec.Struct, frozen=True):
    """A `Step` for a backend that keeps text.

    Attributes:
        session_id: The session to change.
        expected: What must be stored for the change to be carried out; see `Step`.
        record: The text to store; `None` to remove the session.
        expires_at: The deadline of the session in `record`; `None` means never.
        now: The moment of the change. A session whose deadline is not after it is absent.
        version: The version of the session in `record`, if it was made for this change; otherwise empty. If a change is sent
            again because the reply was lost, and this version is stored, the change was carried out before.
        holder: The holder of the session's lease, which releases it; `None` without a lease.
    """

    session_id: str
    expected: str | StoredSession | SessionInfo | Anything | None
    record: bytes | None
    now: datetime
    expires_at: datetime | None = None
    version: str = ""
    holder: str | None = None

    def allows(self, stored: bytes | None) -> bool:
        """Return whether what is stored is what the change expects.

        Args:
            stored: The text of the session; `None` if it is absent or expired.
        """
        expected = self.expected
        if expected is ANYTHING:
            return True
        if expected is None or stored is None:
            return expected is None and stored is None
        if isinstance(expected, str):
            return records.has_version(stored, expected)
        return records.is_untouched(stored, expected)


class Entry(msgspec.Struct, frozen=True):
    """One session that a scan finds.

    Attributes:
        session_id: The id under which it is stored; empty if the backend keeps the id only in the text, which has none.
        head: The text of the session, or its first `records.HEAD_SIZE` bytes.
        size: The number of bytes of the whole text, if the backend knows it.
        where: Where a person finds the text, for errors; by default the name of the store.
    """

    session_id: str
    head: bytes
    size: int | None = None
    where: str = ""


class RecordStore(ABC):
    """A store that keeps each session as one line of JSON; see `botsession.storage.records`.

    Primitives that take a sequence are never called with an empty one.

    Args:
        name: A description of the store for `repr` and errors, without secrets.
        lifetime: How long the store keeps its sessions.

    Attributes:
        lifetime: How long the store keeps its sessions.
    """

    def __init__(self, name: str, lifetime: Lifetime) -> None:
        self.lifetime = lifetime
        self._name = name

    def __repr__(self) -> str:
        return self._name

    @abstractmethod
    async def init(self) -> Self: ...

    @abstractmethod
    def _check_open(self) -> None:
        """Raise a `StoreError` that says what to do, unless the store is open in this event loop."""

    @abstractmethod
    async def _load(self, session_ids: Sequence[str]) -> Sequence[Found]:
        """Return the text of each session, in order. It may be the text of an expired session."""

    @abstractmethod
    async def _apply(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        """Carry out each change in one atomic step; return its outcome, as `SupportsCommit.commit` does.

        An expired session counts as absent. A change that removes a session and names no holder ends the session's lease.
        """

    async def _load_one(self, session_id: str) -> Found:
        """Return the text of one session; override it if there is a shorter way than `_load`."""
        [found] = await self._load([session_id])
        return found

    async def _apply_one(self, change: Change) -> SessionConflictError | StoreError | None:
        """Carry out one change; override it if there is a shorter way than `_apply`."""
        [outcome] = await self._apply([change])
        return outcome

    @abstractmethod
    async def _page(
        self, prefix: str, after: str | None, limit: int | None
    ) -> tuple[Sequence[Entry | CorruptSessionError], str | None]:
        """Return the sessions of one page of a scan, and the `after` of the next page; `None` on the last page.

        They may include expired sessions, and sessions whose ids do not begin with `prefix`. What is not even text is a
        `CorruptSessionError`.

        Args:
            prefix: The beginning of the ids.
            after: The second value returned for the previous page; `None` for the first page.
            limit: The approximate number of sessions, at least one; the driver chooses if `None`.
        """

    @abstractmethod
    async def _set_aside(self, session_id: str, record: bytes, suffix: str) -> str | None:
        """Move an unreadable text out of the way, unless something else is stored there by now, in one atomic step.

        Args:
            session_id: The id under which it is stored.
            record: The text, or the `raw` of the error that `_load` returned.
            suffix: A suffix for its new name, never used before.

        Returns:
            The new place, described so that a person finds it; `None` if the text was no longer there.
        """

    async def read(self, session_id: str) -> StoredSession | None:
        self._check_open()
        check_session_id(session_id)
        return self._session(session_id, await self._load_one(session_id), None)

    async def write(self, session_id: str, session: StoredSession) -> None:
        await self._commit_session(session_id, session, ANYTHING)

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        await self._commit_session(session_id, session, expected)

    async def destroy(self, session_id: str) -> None:
        self._check(session_id)
        outcome = await self._apply_one(Change(session_id, ANYTHING, None, self.lifetime.now()))
        if outcome is not None:
            raise outcome

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        self._check(*session_ids)
        found = await self._load(session_ids) if session_ids else []
        return raise_if_unavailable(self._sessions(session_ids, found))

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        self._check(*(step.session_id for step in steps))
        stamped: list[StoredSession] = []
        for step in steps:
            if step.session is None:
                continue
            if step.is_stamped:
                stamped.append(step.session)
            else:
                records.check_restored(step.session)
        now = self.lifetime.stamp_all(stamped)
        changes = [_change(step, now) for step in steps]
        return raise_if_unavailable(await self._apply(changes)) if changes else []

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        self._check(session_id)
        while True:
            found = await self._load_one(session_id)
            now = self.lifetime.now()
            session = self._session(session_id, found, now)
            if session is None or not isinstance(found, bytes):
                return False
            renewed = records.renew(found, expires_at=expires_at, last_activity=now)
            outcome = await self._apply_one(Change(session_id, session, renewed, now, expires_at))
            if outcome is None:
                return True
            if not isinstance(outcome, SessionConflictError):
                raise outcome

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        self._check()
        check_page_size(limit)
        entries, following = await self._page(prefix, after, limit)
        now = self.lifetime.now()
        return ScanPage.of(
            (
                self._info(entry, now)
                for entry in entries
                if entry.session_id.startswith(prefix) or not entry.session_id
            ),
            following,
        )

    async def quarantine(self, session_id: str) -> str | None:
        self._check(session_id)
        found = await self._load_one(session_id)
        try:
            self._session(session_id, found, None)
        except CorruptSessionError as error:
            suffix = f"corrupt-{self.lifetime.now():%Y%m%dT%H%M%SZ}-{new_version()}"
            return await self._set_aside(session_id, error.raw, suffix)
        return None

    def _check(self, *session_ids: str) -> None:
        """Refuse calls before `init` and after `close`, and invalid session ids."""
        self._check_open()
        for session_id in session_ids:
            check_session_id(session_id)

    def _unexpired(self, session_id: str, record: bytes | None) -> bytes | None:
        """Return a text as `Change.allows` wants it: `None` if its session has expired. An unreadable text stays."""
        try:
            info = None if record is None else records.decode_info(record, session_id, store=self._name)
        except CorruptSessionError:
            return record
        return None if info is None or self.lifetime.expired(info.expires_at) else record

    async def _commit_session(self, session_id: str, session: StoredSession, expected: str | Anything | None) -> None:
        self._check_open()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        record, now = records.encode(session), session.last_activity
        outcome = await self._apply_one(Change(session_id, expected, record, now, session.expires_at, session.version))
        if outcome is not None:
            raise outcome

    def _session(self, session_id: str, found: Found, now: datetime | None) -> StoredSession | None:
        """Return the session in a text; `None` if there is none or it has expired."""
        if found is None:
            return None
        if isinstance(found, StoreError):
            raise found
        session = records.decode(found, session_id, store=self._name)
        return None if self.lifetime.expired(session.expires_at, now) else session

    def _sessions(self, session_ids: Sequence[str], found: Sequence[Found]) -> list[StoredSession | StoreError | None]:
        now = self.lifetime.now()
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id, each in zip(session_ids, found, strict=True):
            try:
                outcomes.append(self._session(session_id, each, now))
            except StoreError as error:
                outcomes.append(error)
        return outcomes

    def _info(self, entry: Entry | CorruptSessionError, now: datetime) -> SessionInfo | CorruptSessionError | None:
        if isinstance(entry, CorruptSessionError):
            return entry
        try:
            where = entry.where or self._name
            info = records.decode_info(entry.head, entry.session_id, store=where, size=entry.size)
        except CorruptSessionError as error:
            return error
        return None if self.lifetime.expired(info.expires_at, now) else info


class LeasingRecordStore(RecordStore):
    """A `RecordStore` with leases; `botsession.storage.leases` has the logic for backends that have none of their own."""

    @abstractmethod
    async def _claim(self, claims: Sequence[Claim]) -> Sequence[Found | Held]:
        """Take each lease and load its session in one atomic step; return the text, or `Held`."""

    @abstractmethod
    async def _renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """See `SupportsLease.renew_leases`."""

    @abstractmethod
    async def _release_leases(self, holders: Mapping[str, str]) -> None:
        """See `SupportsLease.release_leases`."""

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        self._check(*(claim.session_id for claim in claims))
        now = self.lifetime.now()
        outcomes: list[StoredSession | Held | StoreError | None] = []
        for claim, reply in zip(claims, await self._claim(claims) if claims else [], strict=True):
            try:
                outcomes.append(reply if isinstance(reply, Held) else self._session(claim.session_id, reply, now))
            except StoreError as error:
                outcomes.append(error)
        return raise_if_unavailable(outcomes)

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        self._check(*holders)
        return await self._renew_leases(holders, ttl) if holders else []

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        self._check(*holders)
        if holders:
            await self._release_leases(holders)


def check_page_size(limit: int | None) -> None:
    """Refuse what cannot be the `limit` of a scan.

    Raises:
        ConfigError: It is neither an integer above zero nor `None`.
    """
    given: object = limit
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise ConfigError(
            f"limit is not a number of sessions: {limit!r}",
            remedy="Give an integer above zero, or None for the default.",
        )


def raise_if_unavailable(outcomes: list[OutcomeT]) -> list[OutcomeT]:
    """Return the outcomes of a batch; raise the first one if each is a `StoreUnavailableError`."""
    if outcomes and all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes):
        raise outcomes[0]  # type: ignore[misc]  # it is an exception, as all of them are
    return outcomes


def _change(step: Step, now: datetime) -> Change:
    session = step.session
    if session is None:
        return Change(step.session_id, step.expected, None, now, holder=step.holder)
    version = session.version if step.is_stamped else ""
    record = records.encode(session)
    return Change(step.session_id, step.expected, record, now, session.expires_at, version, step.holder)
