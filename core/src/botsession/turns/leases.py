"""Waiting for the leases of sessions, holding them while turns run, and giving them up."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

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

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

FIRST_PAUSE: Final = 0.003
"""Seconds after which a lease is asked for a second time."""

PAUSE_GROWTH: Final = 1.25
"""How much longer each pause is than the one before, so that a long wait costs few calls."""

LONGEST_PAUSE: Final = 1.0

_PLACE_SECONDS: Final = 1.0
"""How long, beyond the next pause, a place in the queue is kept for one who may be slow or gone."""

_RELEASE_SECONDS: Final = 0.25
"""How long a turn waits for the last call of the turn before it here, however little time it has."""

_logger = logging.getLogger("botsession")


class LeasingStore(SessionStore, SupportsReplace, SupportsCommit, SupportsLease, Protocol):
    """A store whose leases can be used."""


def is_leasing(store: SessionStore) -> bool:
    """Tells whether a store has leases, and the capabilities that they need."""
    return isinstance(store, SupportsLease) and isinstance(store, SupportsCommit) and isinstance(store, SupportsReplace)


class HeldLease(msgspec.Struct, eq=False):
    """One turn's hold of a lease.

    Attributes:
        leasing: Where it is one of the `holds`.
        session_id: The session.
        holder: The turn's own name.
        until: Until when it holds, by `time.monotonic`.
        failure: What its turn has failed by, where that was an error.
    """

    leasing: LeaseManager
    session_id: str
    holder: str
    until: float = -math.inf
    failure: BaseException | None = None

    @property
    def lost(self) -> bool:
        """Whether the lease has ended before the turn, so that another may have begun."""
        return time.monotonic() >= self.until

    async def abandon(self, error: BaseException | None) -> None:
        """Gives up the lease, or the place in the queue, after a failure; if that fails too, it ends by itself.

        Args:
            error: What failed; after a `StoreUnavailableError`, nobody waits for the backend once more, and after a
                `TurnTimeoutError` the time to wait is over.
        """
        if self not in self.leasing.holds:
            return
        self.failure = error
        if isinstance(error, StoreUnavailableError):
            self.leasing.drop(self)
        elif isinstance(error, TurnTimeoutError):
            self.leasing.leave(self)
        else:
            await asyncio.wait([self.leasing.leave(self)], timeout=self.leasing.wait)

    def leave(self) -> None:
        """Gives the lease up without waiting for that; the next turn of the session here will."""
        if self in self.leasing.holds:
            self.leasing.leave(self)

    def forget(self) -> None:
        """Takes note that the lease was given up when the session was stored."""
        self.leasing.holds.discard(self)

    def end(self) -> None:
        """Takes note that the lease was given up when the session was removed, although the turn goes on."""
        self.until = -math.inf
        self.forget()


class _Pauses:
    """How long to wait before a lease is asked for again.

    Each pause is longer than the one before, so that a long wait costs few calls. Who has come nearer knows how long a turn
    takes, and goes half of the rest of the way; who is the next begins with short pauses again.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._ahead = 0
        self._pause = FIRST_PAUSE / PAUSE_GROWTH

    def next(self, held: Held, waited: float) -> float:
        """Returns the next pause, in seconds.

        Args:
            held: What was answered.
            waited: For how many seconds the lease is wanted already.
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

    Who waits for a lease asks again after pauses that grow with the time it has waited: a wait of a second costs about
    twenty calls, and later each second one.

    Args:
        store: Where the leases are.
        ttl: For how many seconds a lease is taken; it is renewed when a third of them has passed.
        wait: See the attribute.

    Attributes:
        holds: What is held, or wanted, at present.
        wait: How many seconds a turn that has failed waits until its lease is given up, which then goes on by itself.
    """

    def __init__(self, store: LeasingStore, *, ttl: float, wait: float) -> None:
        self._store = store
        self._ttl = ttl
        self.wait = wait
        self._claim: Batcher[Claim, StoredSession | Held | None] = Batcher(
            self._claim_one, store.lease_many, session_id=attrgetter("session_id")
        )
        self._release: Batcher[HeldLease, None] = Batcher(
            self._release_one, self._release_many, session_id=attrgetter("session_id")
        )
        self.holds: set[HeldLease] = set()
        self._loop: asyncio.AbstractEventLoop
        self._renewal: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def begin_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins, or begins anew, in an event loop: no turn of one that has ended goes on."""
        self._loop, self._renewal = loop, None
        self.holds.clear()
        self._leaving.clear()
        self._tasks.clear()
        self._claim.begin_in(loop)
        self._release.begin_in(loop)

    async def take(self, session_id: str, deadline: float) -> tuple[StoredSession | None, HeldLease]:
        """Waits for the lease of a session; returns the session as it is then, and the hold.

        Args:
            session_id: The session.
            deadline: Until when to wait, by `time.monotonic`; it is asked for once however late it is.

        Raises:
            TurnTimeoutError: Somebody else held it all the time.
        """
        if session_id in self._leaving:
            left = max(deadline - time.monotonic(), _RELEASE_SECONDS)
            await asyncio.wait([self._leaving[session_id]], timeout=left)
        hold = HeldLease(self, session_id, new_version())
        self.holds.add(hold)
        claim = Claim(session_id, hold.holder, self._ttl, LONGEST_PAUSE + _PLACE_SECONDS)
        asked = time.monotonic()
        try:
            outcome = await self._claim(claim)
            if isinstance(outcome, Held):
                outcome, asked = await self._wait_for(claim, outcome, asked, deadline)
        except BaseException as error:
            await hold.abandon(error)
            raise
        hold.until = asked + self._ttl
        if self._renewal is None:
            self._keep_renewing()
        return outcome, hold

    def leave(self, hold: HeldLease) -> asyncio.Task[None]:
        """Begins to give a lease up; returns the task that does it."""
        task = self.drop(hold)
        self._leaving[hold.session_id] = task
        task.add_done_callback(lambda _: self._leaving.pop(hold.session_id, None))
        return task

    def drop(self, hold: HeldLease) -> asyncio.Task[None]:
        """Begins to give a lease up, and lets the next turn of its session not wait for that."""
        hold.forget()
        return self._begin(self._give_up(hold))

    async def settle(self, *, whole: bool) -> None:
        """Waits until every lease that a turn has left is given up.

        Args:
            whole: Whether to give up those too that a turn still holds or waits for.
        """
        if whole:
            holds, self.holds = self.holds, set()
            for hold in holds:
                hold.until = -math.inf
                self._begin(self._give_up(hold))
        deadline = time.monotonic() + self.wait
        while self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)

    async def _wait_for(
        self, claim: Claim, outcome: StoredSession | Held | None, started: float, deadline: float
    ) -> tuple[StoredSession | None, float]:
        """Asks again for a lease that somebody else holds; returns the session, and when it was asked for."""
        asked = started
        pauses = _Pauses()
        while isinstance(outcome, Held):
            now = time.monotonic()
            if now >= deadline:
                raise TurnTimeoutError(
                    claim.session_id,
                    f"session {claim.session_id!r} is in a turn of another process, or of another Sessions object, and was "
                    f"for all of the {now - started:.2f} s that this one waited. Try again later, or wait longer (`wait`, "
                    "`lease_wait`)",
                )
            await asyncio.sleep(min(pauses.next(outcome, now - started), deadline - now))
            asked = time.monotonic()
            outcome = await self._claim(claim)
        return outcome, asked

    async def _claim_one(self, claim: Claim) -> StoredSession | Held | None:
        [outcome] = await self._store.lease_many([claim])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _release_many(self, holds: Sequence[HeldLease]) -> Sequence[None]:
        await self._store.release_leases({hold.session_id: hold.holder for hold in holds})
        return [None] * len(holds)

    async def _release_one(self, hold: HeldLease) -> None:
        await self._release_many([hold])

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _give_up(self, hold: HeldLease) -> None:
        try:
            await self._release(hold)
        except StoreError as error:
            if str(error) != str(hold.failure):  # else it was told already
                _logger.warning("the lease of session %r could not be given up: %s", hold.session_id, error)

    def _keep_renewing(self) -> None:
        self._renewal = self._loop.call_later(self._ttl / 3, self._renew_all)

    def _renew_all(self) -> None:
        """Renews the leases that were taken or renewed a while ago, and comes back as long as there are any."""
        due = time.monotonic() + self._ttl * 3 / 4
        holds = {hold.session_id: hold for hold in self.holds if -math.inf < hold.until < due}
        if holds:
            self._begin(self._renew(holds))
        self._renewal = None
        if self.holds:
            self._keep_renewing()

    async def _renew(self, holds: Mapping[str, HeldLease]) -> None:
        asked = time.monotonic()
        try:
            renewed = await self._store.renew_leases(
                {session_id: hold.holder for session_id, hold in holds.items()}, self._ttl
            )
        except StoreError as error:
            for session_id in holds:
                _logger.warning("the lease of session %r could not be renewed: %s", session_id, error)
            return
        for hold, is_held in zip(holds.values(), renewed, strict=True):
            if is_held:
                hold.until = asked + self._ttl
            elif hold in self.holds:
                hold.until = -math.inf
                _logger.warning("the lease of session %r was lost while its turn ran", hold.session_id)
