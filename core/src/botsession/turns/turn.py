"""One turn: load a session, let the bot change it, save it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from types import TracebackType
from typing import Any, Final, Generic

from botsession.configuration.settings import UNSET, Unset
from botsession.errors import TurnEndedError, TurnTimeoutError
from botsession.ids import check_session_id
from botsession.session import Session, StateT, end, note_destruction
from botsession.states.state_type import Snapshot
from botsession.storage.binding import keep
from botsession.turns.batching import carry_out
from botsession.turns.destructions import wait_for_destruction
from botsession.turns.queue import QueuedTurn, TurnQueue, around
from botsession.turns.storage import Loaded, TurnStorage

_DESTRUCTION_SECONDS: Final = 0.25
"""How long a turn waits at least for a destruction in progress, which is one call to the store and not a turn."""


class Turn(QueuedTurn, Generic[StateT]):
    """One turn, as `Sessions.turn` returns it: an asynchronous context manager that yields the session.

    Args:
        session_id: The session.
        queue: Where to wait for other turns of the session.
        storage: Where to load the session from and save it to; the turn's `owner`.
        wait: How many seconds to wait for other turns.

    Attributes:
        loaded: What was loaded, while the turn runs.
    """

    key: Hashable
    owner: object
    task: asyncio.Task[Any] | None
    entered: float
    is_running: bool
    is_saving: bool
    loaded: Loaded[StateT]
    _is_entered: bool = False
    _outer: tuple[QueuedTurn, ...] = ()
    _destroyed: Snapshot | Unset | None = UNSET

    def __init__(self, session_id: str, queue: TurnQueue, storage: TurnStorage[StateT], wait: float) -> None:
        self.session_id = session_id
        self.key = session_id if queue.exclusive else object()
        self.queue = queue
        self.owner = self._storage = storage
        self._wait = wait

    async def __aenter__(self) -> Session[StateT]:
        check_session_id(self.session_id)
        if self._is_entered:
            raise TurnEndedError(
                f"this turn of session {self.session_id!r} was entered before",
                remedy="Start another one with `sessions.turn(...)`.",
            )
        self._is_entered = True
        outer = around.get()
        if outer:
            outer = self._outer = tuple(turn for turn in outer if turn.is_running)
            self.queue.check_not_nested(self, outer)
        self.task = asyncio.current_task()
        self.entered = time.monotonic()
        deadline = self.entered + self._wait
        if not self.queue.enter_at_once(self):
            await self.queue.wait(self, deadline)
            self.entered = time.monotonic()
        try:
            if self.queue.destructions:
                await self._wait_for_destruction(deadline)
            self.loaded = await self._storage.load(self.session_id, deadline)
            while self.is_overtaken:
                await self._load_again(deadline)
        except BaseException:
            self.queue.leave(self)
            raise
        self.is_running = True
        around.set((*outer, self))
        return self.loaded.session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        around.set(self._outer)
        if self.queue.binding.is_inherited:
            self._end_in_fork(kind)
            return
        cancelled: asyncio.CancelledError | None = None
        try:
            if kind is not None:
                await self._storage.abandon(self.loaded, error)
                return
            if self.queue.destructions:
                cancelled = await carry_out(wait_for_destruction(self.queue, self.session_id, self._wait))
            self.is_saving = True
            if self._destroyed is UNSET:
                await self._storage.save(self.loaded, cancelled)
            else:
                self._storage.end_destroyed(self.loaded, self._destroyed)
        finally:
            self.is_running = False
            end(self.loaded.session)
            del self.loaded
            self.queue.leave(self)
        if cancelled is not None:
            raise cancelled

    def look(self) -> Snapshot | None:
        return self._storage.look(self.loaded)

    def note_destruction(self, then: Snapshot | None) -> None:
        self._destroyed = then
        if self.is_running:  # it may have ended before the store replied
            note_destruction(self.loaded.session)

    async def destroy(self) -> None:
        await self._storage.remove(self.loaded)

    async def _load_again(self, deadline: float) -> None:
        """Load the session once more, because it was destroyed before or after it was read."""
        await self._storage.abandon(self.loaded, None)
        await self._wait_for_destruction(deadline)
        self.is_overtaken = False
        self.loaded = await self._storage.load(self.session_id, deadline)

    async def _wait_for_destruction(self, deadline: float) -> None:
        seconds = max(deadline - time.monotonic(), _DESTRUCTION_SECONDS)
        await wait_for_destruction(self.queue, self.session_id, seconds)
        if self.session_id in self.queue.destructions:
            raise TurnTimeoutError(
                self.session_id,
                f"session {self.session_id!r} is being destroyed, and the store did not reply within {seconds:.2f} s",
                remedy="Try again later, or wait longer (`wait`, `lease_wait`).",
            )

    def _end_in_fork(self, kind: type[BaseException] | None) -> None:
        """End a turn in a forked process: the parent, which started it, saves its session."""
        self.is_running = False
        end(self.loaded.session)
        keep(self)
        if kind is None:
            self.queue.binding.check()
