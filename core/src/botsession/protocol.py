"""What a store is: four methods, and one small protocol for each capability beyond them.

A class that has the methods is a store; no base class is needed. The core asks for a capability with `isinstance`, uses
it where it exists, falls back where a fallback is correct, and raises `UnsupportedError` otherwise.

What holds for every method:

* An expired session is absent, for everything, from the moment of its deadline on.
* A session that is returned is the caller's own: changing it does not change the store.
* Every method raises `InvalidSessionIdError` for what is no session id, `StoreUnavailableError` where the backend does
  not answer, and `StoreError` before `init` and after `close`.
* A call that is cancelled, or fails because the backend was lost, has been carried out wholly or not at all.
* A store that has a `lifetime` stamps what it writes with `Lifetime.stamp` and checks it with `states.encode` (which
  `records.encode` does); for one that has none, `Sessions` does both.
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
    """Keeps sessions in one backend."""

    async def init(self) -> Self:
        """Connects and prepares the backend; may be called again.

        Returns:
            The store itself.

        Raises:
            StoreUnavailableError: The backend does not answer, or refuses the credentials.
            StoreError: What is there cannot be used, such as the data of a newer version or of another program.
        """
        ...

    async def read(self, session_id: str) -> StoredSession | None:
        """Returns the session, or `None` where it is absent or expired, and for no other reason.

        Raises:
            CorruptSessionError: What is stored there is no session.
        """
        ...

    async def write(self, session_id: str, session: StoredSession) -> None:
        """Stores the session, whatever was there.

        Args:
            session_id: Where to store it; the same as `session.id`.
            session: Stamped in place with its new `version`, `last_activity` and `expires_at`, before it is sent and so
                also where the call fails: a later read that finds this version tells that it was stored after all.

        Raises:
            StateError: The state holds what JSON cannot hold; nothing was stored.
            SessionTooLargeError: The backend does not take a session of that size; nothing was stored.
        """
        ...

    async def destroy(self, session_id: str) -> None:
        """Removes what is stored there, even if it is unreadable; no error where nothing is.

        It ends the session's lease as well: whoever held it stores nothing any more.
        """
        ...


@runtime_checkable
class SupportsExpiry(Protocol):
    """The store ends sessions by itself; for one that does not, `Sessions` does it."""

    @property
    def lifetime(self) -> Lifetime:
        """How long this store keeps its sessions."""
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
    """The store holds connections or files."""

    async def close(self) -> None:
        """Releases what the store itself opened, never a client that was handed in; may be called again."""
        ...


@runtime_checkable
class SupportsReplace(Protocol):
    """Compare-and-set: no lost update, no resurrection."""

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        """Stores the session if nobody wrote or destroyed it meanwhile, in one atomic step.

        Args:
            session_id: Where to store it; the same as `session.id`.
            session: Stamped in place as by `write`.
            expected: The `version` that was read, never an empty text; `None` means that the session must be absent.

        Raises:
            SessionConflictError: The stored session has another version, or is absent, or (`expected=None`) is there.
            StateError: The state holds what JSON cannot hold.
            SessionTooLargeError: The backend does not take a session of that size.
        """
        ...


@runtime_checkable
class SupportsTouch(Protocol):
    """Renewal of a deadline without sending the session."""

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        """Moves the deadline of a session, and its `last_activity` to now; its version stays.

        Args:
            session_id: The session to renew.
            expires_at: The new deadline, in UTC and whole milliseconds; `None` means never. It is taken as it is: who
                calls has bounded it, as `Lifetime.deadline` does.

        Returns:
            Whether the session was there; an absent or expired one stays absent.
        """
        ...


@dataclass(slots=True, frozen=True)
class ScanPage:
    """One page of a scan.

    Attributes:
        sessions: What was found; may be empty although more follows.
        next: The `after` of the next page; `None` on the last one.
        unreadable: One error for each record found that is no session, so that it is neither hidden nor in the way.
    """

    sessions: list[SessionInfo]
    next: str | None
    unreadable: list[CorruptSessionError] = field(default_factory=list)

    @classmethod
    def of(cls, found: Iterable[SessionInfo | CorruptSessionError | None], following: str | None) -> Self:
        """Returns the page of what a driver found, record by record, and of where it goes on.

        Args:
            found: For each record what it tells, or why it cannot be read, or `None` where it does not belong there.
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
        """Lists sessions page by page, without their bodies.

        A session that is there from the first page to the last is found at least once.

        Args:
            prefix: How the ids begin.
            after: The `next` of the page before; an opaque text.
            limit: About how many sessions a page should hold, at least one; the driver's own choice where `None`.
                `botsession.configuration.limits.check_page_size` checks it.

        Raises:
            ConfigError: `limit` is no number above zero.
            StoreError: `after` is no cursor of this store.
        """
        ...


class Anything(Enum):
    """The type of `ANYTHING`."""

    ANYTHING = "anything"

    def __repr__(self) -> str:
        return self.name


ANYTHING: Final = Anything.ANYTHING
"""What a `Step` expects where it does not matter what is there."""


class Step(msgspec.Struct, frozen=True):
    """One change of one session, for `SupportsCommit.commit`; made by `replace`, `restore` or `remove`.

    Attributes:
        session_id: The session to change.
        expected: What must be there for the step to be carried out: the session with this `version`; this session, as it was
            read or scanned, with the same version *and* `last_activity` (so nobody has touched it since); `None` for no
            session; or `ANYTHING`.
        session: What is there afterwards; `None` for no session.
        is_stamped: Whether `session` is written now, and so stamped in place as by `SessionStore.write`. Otherwise it is stored
            with the version and moments that it has, such as one that comes from a backup.
        holder: Who holds the session's lease and gives it up by this step; `None` without a lease.
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
            expected: The `version` that was read; `None` if the session must be absent.
            holder: Who holds the session's lease and gives it up.
        """
        return cls(session.id, expected, session, holder=holder)

    @classmethod
    def restore(cls, session: StoredSession, over: StoredSession | SessionInfo | None) -> Self:
        """Return the step that stores a session as it is; it has been stored before, here or elsewhere.

        Args:
            session: What to store, under its own id. If its deadline has passed, there is no session afterwards.
            over: What was read or scanned there before; `None` if the session must be absent.
        """
        return cls(session.id, over, session, is_stamped=False)

    @classmethod
    def remove(cls, session_id: str, expected: str | Anything = ANYTHING, holder: str | None = None) -> Self:
        """Return the step that removes a session.

        Args:
            session_id: The session to remove.
            expected: The `version` that must be there; by default whatever is there, unreadable or not.
            holder: Who holds the session's lease and gives it up. Without a holder, the step ends the lease, as `destroy` does.
        """
        return cls(session_id, expected, None, holder=holder)


@runtime_checkable
class SupportsCommit(Protocol):
    """Many sessions in one round trip. The core batches concurrent turns into it."""

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        """Read many sessions.

        Returns:
            For each, in order: the session, `None` if it is absent, or a `CorruptSessionError`.
        """
        ...

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        """Carry out many steps, each of them atomic and with an outcome of its own.

        Args:
            steps: At most one for each session.

        Returns:
            For each, in order: `None` if it was carried out, also when it removes a session that is absent and expects
            `ANYTHING`; a `SessionConflictError` if something else is there than it expects, or if its `holder` does not hold
            the session's lease; or another `StoreError` that concerns this step alone.

        Raises:
            InvalidSessionIdError: One of the ids is not a session id; nothing was changed.
            StateError: A session cannot be stored: its state is not JSON, or it is to be restored and has no version or a moment
                without a time zone; nothing was changed.
            StoreUnavailableError: The backend was lost; steps before that moment may have been carried out.
        """
        ...


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One entry of `lease_many`.

    Attributes:
        session_id: The session whose lease is wanted.
        holder: Who wants it: a short opaque text of letters and digits, another one for every turn.
        ttl: For how many seconds.
        again: Within how many seconds it is asked for again if somebody else holds it; so long its place in the queue is
            kept.
    """

    session_id: str
    holder: str
    ttl: float
    again: float


class Held(msgspec.Struct, frozen=True):
    """The outcome of a claim on a lease that somebody else holds, or for which somebody else waits longer.

    Attributes:
        seconds: After how many seconds it may be free, if nobody renews it.
        ahead: How many others wait longer; 0 for the next one, and where the backend does not tell.
    """

    seconds: float
    ahead: int = 0


@runtime_checkable
class SupportsLease(Protocol):
    """One turn of a session at a time, across processes.

    A lease is held by one holder until it is given up or its time is over. It is beside the session: it can be held for
    one that is absent, which it does not create. `Sessions` waits for leases, renews them and gives them up; it uses them
    where the store has `SupportsReplace` and `SupportsCommit` too.

    Then `commit` gives up the lease of a step's `holder` in the step that stores or removes the
    session. They refuse the entry by a `SessionConflictError` where that holder does not hold the lease at that moment:
    another one has it, or nobody has, since its time is over or a `destroy` has ended it. Only what is a repeat, sent again
    since its answer was lost, stays stored: the version that is there is its own.
    """

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        """Takes leases and reads the sessions, each in one step.

        Leases are given in the order in which they were first asked for, as far as the backend allows it.

        Args:
            claims: At most one for each session.

        Returns:
            For each the session, or `None` where it is absent: the holder has the lease. Or `Held`; or an error, after
            which the lease may be held or not.
        """
        ...

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        """Holds leases for so many seconds from now on, all in one call.

        Args:
            holders: Who holds each, by session id.
            ttl: For how many seconds.

        Returns:
            For each, in the order of `holders`, whether the holder had it still.
        """
        ...

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        """Gives up leases, or places in the queues for them.

        Args:
            holders: Who gives up, by session id; no error for one that has neither lease nor place.
        """
        ...


@runtime_checkable
class SupportsPurge(Protocol):
    """Removal of what has expired, where the backend does not do so itself; what is unreadable stays."""

    async def purge(self) -> int:
        """Removes all expired sessions.

        Returns:
            How many were removed.
        """
        ...


@runtime_checkable
class SupportsQuarantine(Protocol):
    """A place for what is unreadable, out of the way of its session and kept for repair."""

    async def quarantine(self, session_id: str) -> str | None:
        """Puts aside what is stored there if it is unreadable, in one step; leaves a readable session alone.

        Returns:
            Where it lies now, for a person to find it; `None` where the session is absent or readable.
        """
        ...


@runtime_checkable
class SupportsPing(Protocol):
    """Health of the backend."""

    async def ping(self) -> None:
        """Returns if the backend answers.

        Raises:
            StoreUnavailableError: It does not.
        """
        ...


Level = Literal["ok", "unknown", "warning", "error"]
"""`ok`: as it should be. `unknown`: it may not be asked. `warning`: sessions may be lost. `error`: it does not work."""


@dataclass(slots=True, frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How it is.
        topic: What was looked at, in a word or two.
        message: What was found, on one line and without secrets.
        remedy: What to do about it; empty where nothing has to be done.
    """

    level: Level
    topic: str
    message: str
    remedy: str = ""


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """Knowledge of what in the backend, or in its settings, would lose sessions."""

    async def diagnose(self) -> list[Finding]:
        """Looks at the backend and its settings, and changes nothing.

        What the backend does not tell, or does not tell this user, is a finding of the level `unknown` and no error. A
        warning or an error has a remedy.

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
    """Returns the names of the optional capabilities that a store has."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(store, protocol)]


def unsupported(store: SessionStore, capability: str, purpose: str) -> UnsupportedError:
    """Returns the error for a store that lacks a capability.

    Args:
        store: The store.
        capability: The capability's name, such as `scan`.
        purpose: What it was needed for, such as `list its sessions`.
    """
    return UnsupportedError(f"{type(store).__name__} cannot {purpose}: it lacks the capability {capability!r}")
