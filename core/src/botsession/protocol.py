"""What a store is: four methods, and one small protocol for each capability beyond them.

A class that has the methods is a store; no base class is needed. The core asks for a capability with `isinstance`, uses it where it
exists, falls back where a fallback is correct, and otherwise raises `UnsupportedError`.

Every method keeps these rules:

* An expired session is absent for everything, from the moment of its deadline on.
* A session that is returned is the caller's own: changing it does not change the store.
* An invalid id raises `InvalidSessionIdError`, a backend that does not answer `StoreUnavailableError`, and any call before `init`
  or after `close` a `StoreError`.
* A call that is cancelled, or that fails because the backend was lost, has been carried out completely or not at all.
* A store with a `lifetime` stamps what it writes with `Lifetime.stamp` and checks it with `json_values.encode`, which
  `records.encode` does. For a store without one, `Sessions` does both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, Protocol, Self, runtime_checkable

import msgspec

from botsession.errors import CorruptSessionError, SessionConflictError, StoreError, UnsupportedError
from botsession.lifetime import Lifetime
from botsession.session import Session, SessionInfo

StoredSession = Session[dict[str, Any]]
"""A session as stores see it, with a JSON object as its state."""


@runtime_checkable
class SessionStore(Protocol):
    """A store of sessions in one backend."""

    async def init(self) -> Self:
        """Connect and prepare the backend. It may be called again.

        Returns:
            The store itself.

        Raises:
            StoreUnavailableError: The backend does not answer, or rejects the credentials.
            StoreError: The backend cannot be used, because its data belong to a newer version or to another program.
        """
        ...

    async def read(self, session_id: str) -> StoredSession | None:
        """Return the session, or `None` if it is absent or expired, and for no other reason.

        Raises:
            CorruptSessionError: What is stored there is not a session.
        """
        ...

    async def write(self, session_id: str, session: StoredSession) -> None:
        """Store the session, whatever was there.

        Args:
            session_id: The id to store it under; the same as `session.id`.
            session: The session. It is stamped in place with a new `version`, `last_activity` and `expires_at` before it is sent.
                If the call fails, a later read that finds this version shows that the session was stored.

        Raises:
            StateError: The state contains something that JSON cannot hold. Nothing was stored.
            SessionTooLargeError: The backend rejects a session of this size. Nothing was stored.
        """
        ...

    async def destroy(self, session_id: str) -> None:
        """Remove what is stored there, readable or not; no error if nothing is.

        It ends the session's lease as well, so that its holder can no longer store the session.
        """
        ...


@runtime_checkable
class SupportsExpiry(Protocol):
    """The store expires sessions itself; for one that does not, `Sessions` does."""

    @property
    def lifetime(self) -> Lifetime:
        """How long the store keeps its sessions."""
        ...


@runtime_checkable
class InProcess(Protocol):
    """The store keeps sessions in this process, where nothing but its own methods reaches them.

    Its calls return without suspending the caller: they await nothing that is not ready. So turns on it need no lease, no batch
    and no protection from cancellation. All `Sessions` objects over the same store wait for each other's turns. The store must be
    hashable and allow weak references. A subclass whose methods suspend sets `in_process` to `False`.
    """

    @property
    def in_process(self) -> bool:
        """Whether all of that holds."""
        ...


def is_in_process(store: object) -> bool:
    """Return whether a store keeps its sessions in this process; see `InProcess`."""
    return isinstance(store, InProcess) and store.in_process


@runtime_checkable
class SupportsClose(Protocol):
    """The store has connections or files to close."""

    async def close(self) -> None:
        """Release what the store itself opened, never a client that was passed in. It may be called again."""
        ...


@runtime_checkable
class SupportsReplace(Protocol):
    """Compare-and-set: no lost update, no resurrection."""

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        """Store the session if the expected version is there, in one atomic step.

        Args:
            session_id: The id to store it under; the same as `session.id`.
            session: The session, stamped in place as by `write`.
            expected: The `version` that was read, never empty; `None` if the session must be absent.

        Raises:
            SessionConflictError: The stored session has another version or is absent; with `expected=None`, it is there.
            StateError: As for `write`.
            SessionTooLargeError: As for `write`.
        """
        ...


@runtime_checkable
class SupportsTouch(Protocol):
    """Renewal of a deadline without sending the session."""

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        """Set the deadline of a session, and its `last_activity` to now. Its version stays the same.

        Args:
            session_id: The session to renew.
            expires_at: The new deadline, in UTC and whole milliseconds; `None` means never. The store does not limit it: the
                caller has done so, with `Lifetime.deadline`.

        Returns:
            Whether the session is there. An absent or expired one stays absent.
        """
        ...


@dataclass(slots=True, frozen=True)
class ScanPage:
    """One page of a scan.

    Attributes:
        sessions: The sessions that were found. There may be none although more pages follow.
        next: The `after` of the next page; `None` on the last one.
        unreadable: An error for each record that was found and is not a session.
    """

    sessions: list[SessionInfo]
    next: str | None
    unreadable: list[CorruptSessionError] = field(default_factory=list)

    @classmethod
    def of(cls, found: Iterable[SessionInfo | CorruptSessionError | None], following: str | None) -> Self:
        """Return a page of what a driver found.

        Args:
            found: For each record its session, the error if it is unreadable, or `None` to leave it out.
            following: The `next` of the page.
        """
        page = cls([], following)
        for each in found:
            if isinstance(each, SessionInfo):
                page.sessions.append(each)
            elif each is not None:
                page.unreadable.append(each)
        return page


@runtime_checkable
class SupportsScan(Protocol):
    """Listing of what is stored."""

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        """Return one page of the sessions, without their bodies.

        A session that is there from the first page to the last is found at least once.

        Args:
            prefix: The beginning of the ids.
            after: The `next` of the previous page, an opaque text; `None` for the first page.
            limit: The approximate number of sessions, at least one; the driver chooses if `None`.
                `botsession.storage.check_page_size` checks it.

        Raises:
            ConfigError: `limit` is not an integer above zero.
            StoreError: `after` is not a cursor of this store.
        """
        ...


class Anything(Enum):
    """The type of `ANYTHING`."""

    ANYTHING = "anything"

    def __repr__(self) -> str:
        return self.name


ANYTHING: Final = Anything.ANYTHING
"""The `expected` of a `Step` that is carried out whatever is stored."""


class Step(msgspec.Struct, frozen=True):
    """One change of one session, for `SupportsCommit.commit`; made by `replace`, `restore` or `remove`.

    Attributes:
        session_id: The session to change.
        expected: What must be stored for the step to be carried out: a `version`; a session as it was read or scanned, with the
            same version *and* `last_activity`, so that nobody has touched it since; `None` for no session; or `ANYTHING`.
        session: What is stored afterwards; `None` for no session.
        is_stamped: Whether `session` is written now, and therefore stamped in place as by `SessionStore.write`. Otherwise it is
            stored with the version and moments that it has, as when it comes from a backup.
        holder: The holder of the session's lease, which the step requires and releases; `None` without a lease. A step that
            removes a session without a holder ends the lease.
    """

    session_id: str
    expected: str | StoredSession | SessionInfo | Anything | None
    session: StoredSession | None
    is_stamped: bool = True
    holder: str | None = None

    @classmethod
    def replace(
        cls, session: StoredSession, expected: str | Anything | None = ANYTHING, holder: str | None = None
    ) -> Self:
        """Return the step that writes a session.

        Args:
            session: What to store, under its own id.
            expected: The `version` that was read; `None` if the session must be absent; by default whatever is there.
            holder: The holder of the session's lease, which the step releases.
        """
        return cls(session.id, expected, session, holder=holder)

    @classmethod
    def restore(cls, session: StoredSession, over: StoredSession | SessionInfo | None) -> Self:
        """Return the step that stores a session unchanged, which was stored before, here or elsewhere.

        Args:
            session: What to store, under its own id. If its deadline has passed, nothing is there afterwards.
            over: What was read or scanned there before; `None` if the session must be absent.
        """
        return cls(session.id, over, session, is_stamped=False)

    @classmethod
    def remove(cls, session_id: str, expected: str | Anything = ANYTHING, holder: str | None = None) -> Self:
        """Return the step that removes a session.

        Args:
            session_id: The session to remove.
            expected: The `version` that must be there; by default whatever is there, readable or not.
            holder: The holder of the session's lease, which the step releases.
        """
        return cls(session_id, expected, None, holder=holder)


@runtime_checkable
class SupportsCommit(Protocol):
    """Many sessions in one round trip. `Sessions` batches concurrent turns into it."""

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        """Read many sessions.

        Returns:
            For each, in order: the session, `None` if it is absent, or a `CorruptSessionError`.
        """
        ...

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        """Carry out many steps of any kind, each of them atomic and with its own outcome.

        Args:
            steps: At most one for each session. If there are more, each is still atomic, in any order.

        Returns:
            For each, in order: `None` if it was carried out, which includes the removal of an absent session with `ANYTHING`; a
            `SessionConflictError` if something else is there than expected, or if `holder` does not hold the lease; or another
            `StoreError` that concerns this step alone. If a step that was carried out is sent again because the reply was lost,
            it is not a conflict: the version that is stored is its own.

        Raises:
            InvalidSessionIdError: One of the ids is not a session id. Nothing was changed.
            StateError: A session cannot be stored: its state is not JSON, or it is to be restored and its version or a moment is
                invalid. Nothing was changed.
            StoreUnavailableError: The backend was lost. Some steps may have been carried out.
        """
        ...


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A request for one lease.

    Attributes:
        session_id: The session whose lease is requested.
        holder: Who requests it: a short text of letters and digits, different for every turn.
        ttl: The duration of the lease, in seconds.
        again: How long its place in the queue is kept, in seconds, if it has to wait; it asks again before that.
    """

    session_id: str
    holder: str
    ttl: float
    again: float


class Held(msgspec.Struct, frozen=True):
    """The outcome of a claim that has to wait.

    Attributes:
        seconds: After how many seconds the lease may be free, unless its holder renews it.
        ahead: How many waiters are ahead in the queue; 0 for the next one, and if the backend does not know.
    """

    seconds: float
    ahead: int = 0


@runtime_checkable
class SupportsLease(Protocol):
    """One turn of a session at a time, across processes.

    A lease has one holder, until it is released or ends. It is independent of its session: it can be held for an absent
    session, and does not create it. `Sessions` uses leases if the store also has `SupportsReplace` and `SupportsCommit`. A step
    that names a `holder` is refused unless that holder has the lease at that moment.
    """

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        """Take leases and read the sessions, each in one atomic step.

        Leases are granted in order of arrival, as far as the backend can. A holder that claims its lease again gets it again.

        Args:
            claims: At most one for each session.

        Returns:
            For each, in order: the session, or `None` if it is absent, when the holder has the lease; `Held` when it has to wait;
            or an error, after which the holder may have the lease or not.
        """
        ...

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """Renew leases.

        Args:
            holders: The holder of each, by session id.
            ttl: How long they last from now on, in seconds.

        Returns:
            For each, in the order of `holders`, whether the holder still had the lease.
        """
        ...

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        """Release leases, or places in the queues for them.

        Args:
            holders: The holder of each, by session id; no error for one that has neither.
        """
        ...


@runtime_checkable
class SupportsPurge(Protocol):
    """Removal of expired sessions, for a backend that does not remove them itself."""

    async def purge(self) -> int:
        """Remove all expired sessions; keep what is unreadable.

        Returns:
            How many were removed.
        """
        ...


@runtime_checkable
class SupportsQuarantine(Protocol):
    """A place where unreadable records are kept for repair, out of the way of their sessions."""

    async def quarantine(self, session_id: str) -> str | None:
        """Move what is stored there to the quarantine if it is unreadable, in one atomic step.

        Returns:
            Its new place, described so that a person finds it; `None` if the session is absent or readable.
        """
        ...


@runtime_checkable
class SupportsPing(Protocol):
    """Health of the backend."""

    async def ping(self) -> None:
        """Return if the backend answers.

        Raises:
            StoreUnavailableError: It does not.
        """
        ...


Level = Literal["ok", "unknown", "warning", "error"]
"""`ok`: as it should be. `unknown`: the backend does not say. `warning`: sessions may be lost. `error`: it does not work."""


@dataclass(slots=True, frozen=True)
class Finding:
    """The result of one check of a backend.

    Attributes:
        level: The result.
        topic: What was checked, in a word or two.
        message: What was found, on one line and without secrets.
        remedy: What to do about it; empty if nothing.
    """

    level: Level
    topic: str
    message: str
    remedy: str = ""


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """Checks of the backend for what would lose sessions."""

    async def diagnose(self) -> list[Finding]:
        """Check the backend and its settings, without changing anything.

        What the backend does not disclose to this user is a finding of the level `unknown`, not an error. Warnings and errors
        have a remedy.

        Raises:
            StoreUnavailableError: The backend does not answer.
        """
        ...


CAPABILITIES: dict[str, type] = {
    "expiry": SupportsExpiry,
    "close": SupportsClose,
    "replace": SupportsReplace,
    "touch": SupportsTouch,
    "scan": SupportsScan,
    "commit": SupportsCommit,
    "lease": SupportsLease,
    "quarantine": SupportsQuarantine,
    "purge": SupportsPurge,
    "ping": SupportsPing,
    "diagnosis": SupportsDiagnosis,
}
"""Every optional capability by its name."""


def capabilities(store: object) -> list[str]:
    """Return the names of the capabilities of a store."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(store, protocol)]


def unsupported(store: SessionStore, capability: str, purpose: str) -> UnsupportedError:
    """Return the error for a store that lacks a capability.

    Args:
        store: The store.
        capability: The name of the capability, such as `scan`.
        purpose: What it is needed for, such as `list its sessions`.
    """
    return UnsupportedError(f"{type(store).__name__} cannot {purpose}: it lacks the capability {capability!r}")
