"""Leases of sessions: wait for them, renew them while turns run, and give them up."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from botsession.errors import StoreError, StoreUnavailableError, TurnTimeoutError
from botsession.lifetime import new_version
from botsession.protocol import (
    Claim,
    Held,
    SessionStore,
    StoredSession,
    SupportsCommit,
    SupportsLease,
    SupportsReplace,
)
from botsession.turns.batching import Batcher

FIRST_PAUSE: Final = 0.003
"""Seconds until a waiter asks for a lease a second time."""

PAUSE_GROWTH: Final = 1.25
"""How much longer each pause is than the one before, so that a long wait costs few calls."""

LONGEST_PAUSE: Final = 1.0

_PLACE_SECONDS: Final = 1.0
"""How long, beyond the next pause, the queue keeps the place of a waiter that may be slow or gone."""

_RELEASE_SECONDS: Final = 0.25
"""How long a turn waits at least until the previous turn in this process has given up the lease."""

_logger = logging.getLogger("botsession")


class LeasingStore(SessionStore, SupportsReplace, SupportsCommit, SupportsLease, Protocol):
    """A store whose leases turns can hold."""


def can_lease(store: SessionStore) -> bool:
    """Return whether a store supports leases, and what they depend on."""
    return isinstance(store, SupportsLease) and isinstance(store, SupportsCommit) and isinstance(store, SupportsReplace)


class HeldLease(msgspec.Struct, eq=False):
    """The lease that one turn holds or waits for.

    Attributes:
        manager: The manager that it belongs to.
        session_id: The session.
        holder: The name of the turn as a holder.
        until: When it ends unless it is renewed, by `time.monotonic`.
        failure: The error that the turn ended with, if it ended with one.
        is_asked_for: Whether a claim is on its way, so that it is not known yet whether the lease is held.
    """

    manager: LeaseManager
    session_id: str
    holder: str
    until: float = -math.inf
    failure: BaseException | None = None
    is_asked_for: bool = False

    @property
    def lost(self) -> bool:
        """Whether the lease has ended before the turn, so another turn may have started."""
        return time.monotonic() >= self.until

    async def abandon(self, error: BaseException | None) -> None:
        """Give up the lease, or the place in the queue, after a failure. If that fails too, the lease ends by itself.

        Args:
            error: The failure. After a `StoreUnavailableError` nothing waits for the backend again, and after a
                `TurnTimeoutError` there is no time left to wait.
        """
        if self not in self.manager.leases:
            return
        self.failure = error
        if isinstance(error, StoreUnavailableError):
            self.manager.drop(self)
        elif isinstance(error, TurnTimeoutError):
            self.manager.release(self)
        else:
            await asyncio.wait([self.manager.release(self)], timeout=self.manager.wait)

    def leave(self) -> None:
        """Give up the lease in the background; the next turn of the session in this process waits for that."""
        if self in self.manager.leases:
            self.manager.release(self)

    def forget(self) -> None:
        """Record that the lease was given up in the step that stored the session."""
        self.manager.leases.discard(self)

    def end(self) -> None:
        """Record that the lease was given up in the step that removed the session, although the turn goes on."""
        self.until = -math.inf
        self.forget()


class _Pauses:
    """How long to wait before asking for a lease again.

    Each pause is longer than the one before, so that a long wait costs few calls. A waiter that has moved up in the queue knows how
    long a turn takes, and pauses for half of its remaining wait; one that is next starts with short pauses again.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._ahead = 0
        self._pause = FIRST_PAUSE / PAUSE_GROWTH

    def next(self, held: Held, waited: float) -> float:
        """Return the next pause, in seconds.

        Args:
            held: The latest answer.
            waited: For how many seconds the lease has been wanted.
        """
        if self._first is None:
            self._first = self._ahead = held.ahead
        if held.ahead < self._ahead:
            self._ahead = held.ahead
            self._pause = held.ahead * waited / (self._first - held.ahead) / 2
        else:
            self._pause *= PAUSE_GROWTH
        self._pause = min(max(self._pause, FIRST_PAUSE * (1 + held.ahead)), LONGEST_PAUSE)
        return min(self._pause, max(held.seconds, FIRST_PAUSE))


class LeaseManager:
    """The leases that the turns of one `Sessions` hold.

    A waiter asks for a lease again after pauses that grow with the time it has waited: the first second of a wait costs about
    twenty calls, and each further second one.

    Args:
        store: The store that grants the leases.
        ttl: For how many seconds a lease is taken; it is renewed after a third of that.
        wait: See the attribute.

    Attributes:
        leases: The leases that are held or wanted now.
        ttl: See above.
        wait: For how many seconds a turn that has failed waits until its lease is given up, which then continues in the
            background.
    """

    def __init__(self, store: LeasingStore, *, ttl: float, wait: float) -> None:
        self._store = store
        self.ttl = ttl
        self.wait = wait
        self.leases: set[HeldLease] = set()
        self._claim: Batcher[Claim, StoredSession | Held | None] = Batcher(
            store.lease_many, session_id=attrgetter("session_id")
        )
        self._release: Batcher[HeldLease, None] = Batcher(self._release_many, session_id=attrgetter("session_id"))
        self._loop: asyncio.AbstractEventLoop
        self._renewal: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._releasing: dict[str, asyncio.Task[None]] = {}
        self._is_closing = False

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this event loop from now on; turns of one that has ended do not continue."""
        self._loop, self._renewal = loop, None
        self.leases.clear()
        self._releasing.clear()
        self._tasks.clear()
        self._claim.use_loop(loop)
        self._release.use_loop(loop)

    async def take(self, session_id: str, deadline: float) -> tuple[StoredSession | None, HeldLease]:
        """Wait for the lease of a session; return the session as it is then, and the lease.

        Args:
            session_id: The session.
            deadline: How long to wait, by `time.monotonic`. The lease is asked for at least once.

        Raises:
            TurnTimeoutError: Another holder had the lease all the time.
        """
        if session_id in self._releasing:
            left = max(deadline - time.monotonic(), _RELEASE_SECONDS)
            await asyncio.wait([self._releasing[session_id]], timeout=left)
        lease = HeldLease(self, session_id, new_version())
        self.leases.add(lease)
        claim = Claim(session_id, lease.holder, self.ttl, LONGEST_PAUSE + _PLACE_SECONDS)
        asked = time.monotonic()
        try:
            outcome = await self._ask(lease, claim)
            if isinstance(outcome, Held):
                outcome, asked = await self._wait_for(lease, claim, outcome, asked, deadline)
        except BaseException as error:
            await lease.abandon(error)
            raise
        lease.until = asked + self.ttl
        if self._renewal is None:
            self._schedule_renewal()
        return outcome, lease

    def release(self, lease: HeldLease) -> asyncio.Task[None]:
        """Give up a lease in a task, and return the task; the next turn of the session waits for it."""
        task = self.drop(lease)
        self._releasing[lease.session_id] = task
        task.add_done_callback(lambda _: self._releasing.pop(lease.session_id, None))
        return task

    def drop(self, lease: HeldLease) -> asyncio.Task[None]:
        """Give up a lease in a task, and return the task; no turn waits for it."""
        lease.forget()
        return self._start(self._give_up(lease))

    async def settle(self, *, close: bool) -> None:
        """Wait until the leases of turns that have ended are given up.

        Args:
            close: Whether to give up also the leases that turns still hold or wait for.
        """
        deadline = time.monotonic() + self.wait
        if close:
            # A lease that was given up before its claim arrived would stay.
            self._is_closing = True
            try:
                while any(lease.is_asked_for for lease in self.leases) and time.monotonic() < deadline:  # noqa: ASYNC110 - rare
                    await asyncio.sleep(FIRST_PAUSE)
            finally:
                self._is_closing = False
            leases, self.leases = self.leases, set()
            for lease in leases:
                lease.until = -math.inf
                self._start(self._give_up(lease))
        while self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)

    async def _ask(self, lease: HeldLease, claim: Claim) -> StoredSession | Held | None:
        lease.is_asked_for = True
        try:
            return await self._claim(claim)
        finally:
            lease.is_asked_for = False

    async def _wait_for(
        self, lease: HeldLease, claim: Claim, outcome: StoredSession | Held | None, started: float, deadline: float
    ) -> tuple[StoredSession | None, float]:
        """Ask again for a lease that another holder has; return the session, and when the lease was asked for."""
        asked = started
        pauses = _Pauses()
        while isinstance(outcome, Held):
            now = time.monotonic()
            if now >= deadline:
                raise TurnTimeoutError(
                    claim.session_id,
                    f"session {claim.session_id!r} is in a turn of another process, or of another Sessions object, and this "
                    f"turn waited for {now - started:.2f} s",
                    remedy="Try again later, or wait longer (`wait`, `lease_wait`).",
                )
            await asyncio.sleep(min(pauses.next(outcome, now - started), deadline - now))
            if self._is_closing or lease not in self.leases:
                raise StoreError(f"the store was closed while a turn waited for session {lease.session_id!r}")
            asked = time.monotonic()
            outcome = await self._ask(lease, claim)
        return outcome, asked

    async def _release_many(self, leases: Sequence[HeldLease]) -> Sequence[None]:
        await self._store.release_leases({lease.session_id: lease.holder for lease in leases})
        return [None] * len(leases)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _give_up(self, lease: HeldLease) -> None:
        try:
            await self._release(lease)
        except StoreError as error:
            if str(error) != str(lease.failure):  # the turn has raised the same error
                _logger.warning("the lease of session %r could not be given up: %s", lease.session_id, error)

    def _schedule_renewal(self) -> None:
        self._renewal = self._loop.call_later(self.ttl / 3, self._renew_all)

    def _renew_all(self) -> None:
        """Renew the leases that were taken or renewed a while ago, and continue as long as there are any."""
        due = time.monotonic() + self.ttl * 3 / 4
        leases = {lease.session_id: lease for lease in self.leases if -math.inf < lease.until < due}
        if leases:
            self._start(self._renew(leases))
        self._renewal = None
        if self.leases:
            self._schedule_renewal()

    async def _renew(self, leases: Mapping[str, HeldLease]) -> None:
        asked = time.monotonic()
        try:
            renewed = await self._store.renew_leases(
                {session_id: lease.holder for session_id, lease in leases.items()}, self.ttl
            )
        except StoreError as error:
            for session_id in leases:
                _logger.warning("the lease of session %r could not be renewed: %s", session_id, error)
            return
        for lease, is_held in zip(leases.values(), renewed, strict=True):
            if is_held:
                lease.until = asked + self.ttl
            elif lease in self.leases:
                lease.until = -math.inf
                _logger.warning("the lease of session %r was lost while its turn ran", lease.session_id)
