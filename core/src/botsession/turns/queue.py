"""The queue for turns: which turn runs for each session, and which turns wait for it."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from botsession.configuration.limits import Lock
from botsession.errors import NestedTurnError, TurnTimeoutError
from botsession.protocol import SessionStore, is_in_process
from botsession.states.state_type import Snapshot
from botsession.storage.binding import LoopBinding, keep


class QueuedTurn(ABC):
    """What the queue knows of a turn.

    Attributes:
        session_id: The session.
        owner: Whose turn it is; several `Sessions` objects may share one queue.
        queue: The queue that it goes through.
        key: What it waits for: the session id, or an object of its own if turns of one session run concurrently.
        task: The task that entered it, until it leaves the queue.
        entered: When it was entered or admitted, by `time.monotonic`.
        is_running: Whether its handler runs.
        is_saving: Whether its handler has ended and its session is being saved.
        is_overtaken: Whether its session was destroyed before its handler started.
        left: Resolved when it leaves the queue; `None` while nobody waits for that.
    """

    session_id: str
    owner: object
    queue: TurnQueue
    key: Hashable
    task: asyncio.Task[Any] | None = None
    entered: float = 0.0
    is_running: bool = False
    is_saving: bool = False
    is_overtaken: bool = False
    left: asyncio.Future[None] | None = None

    @abstractmethod
    def look(self) -> Snapshot | None:
        """Return what the bot can change in the session, as it is now; `None` if it could not be saved."""

    @abstractmethod
    def note_destruction(self, then: Snapshot | None) -> None:
        """Record that the session was destroyed, and what it was at that moment. The turn will not save it."""

    @abstractmethod
    async def destroy(self) -> None:
        """Destroy the session as this turn has loaded it."""

    def wait_until_left(self) -> asyncio.Future[None]:
        """Return a future that is resolved when the turn leaves the queue."""
        self.left = self.left or asyncio.get_running_loop().create_future()
        return self.left

    def describe(self) -> str:
        """Return which task is in this turn, and for how long."""
        name = "" if self.task is None else f"the task {self.task.get_name()!r} of "
        phase = "running" if self.is_running else "starting"
        return f"{name}this process, {phase} for {time.monotonic() - self.entered:.2f} s"


around: ContextVar[tuple[QueuedTurn, ...]] = ContextVar("botsession_turns", default=())
"""The turns that run around the caller, the outermost one first."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: around.set(()))  # they run in the parent


class TurnQueue:
    """Admits turns: one at a time for each session, in order of arrival. It keeps nothing of sessions without a turn.

    Args:
        exclusive: Whether turns of one session wait for each other; otherwise they run concurrently.
        on_new_loop: Called with each new event loop before the first turn in it starts.

    Attributes:
        exclusive: See above.
        binding: The event loop that the queue belongs to.
        destructions: For each session that is being destroyed, a future that is resolved at the end.
    """

    def __init__(self, *, exclusive: bool, on_new_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self.exclusive = exclusive
        self.binding: LoopBinding = LoopBinding("the Sessions object")
        self.destructions: dict[str, asyncio.Future[None]] = {}
        self._on_new_loop = on_new_loop
        self._running: dict[Hashable, QueuedTurn] = {}
        self._waiting: dict[Hashable, OrderedDict[asyncio.Future[bool], QueuedTurn]] = {}
        self._waiting_tasks: dict[asyncio.Task[Any], QueuedTurn] = {}

    def __len__(self) -> int:
        return len(self._running)

    def enter_loop(self) -> None:
        """Bind the queue to the running event loop. Turns of an event loop that has ended are forgotten.

        Raises:
            StoreError: The queue belongs to another event loop that is open, or this one was inherited by a fork.
        """
        if self.binding.enter():
            self._start_over()

    def leave_loop(self) -> None:
        """Let turns start in any event loop, unless some run in this one."""
        if not self._running:
            self.binding.leave()

    def enter_at_once(self, turn: QueuedTurn) -> bool:
        """Admit the turn if no other one is in its way; return whether it was admitted.

        Raises:
            StoreError: See `enter_loop`.
        """
        if self.binding.enter():
            self._start_over()
        return self._running.setdefault(turn.key, turn) is turn

    async def wait(self, turn: QueuedTurn, deadline: float) -> None:
        """Wait until the turn is admitted.

        Raises:
            TurnTimeoutError: It was not admitted before the deadline, or never will be, because the turns ahead of it wait
                for its own task.
        """
        self._check_deadlock(turn)
        loop = asyncio.get_running_loop()
        admitted: asyncio.Future[bool] = loop.create_future()
        waiting = self._waiting.setdefault(turn.key, OrderedDict())
        waiting[admitted] = turn
        timer = loop.call_later(deadline - time.monotonic(), _give_up, admitted)
        if turn.task is not None:
            self._waiting_tasks[turn.task] = turn
        try:
            if not await admitted:
                raise self._timeout(
                    turn,
                    f"this turn waited for {time.monotonic() - turn.entered:.2f} s",
                    "Try again later, or wait longer (`wait`, `lease_wait`).",
                )
        except asyncio.CancelledError:
            if not admitted.cancelled() and admitted.result():
                self.leave(turn)
            raise
        finally:
            timer.cancel()
            waiting.pop(admitted, None)
            if not waiting and self._waiting.get(turn.key) is waiting:
                del self._waiting[turn.key]
            if turn.task is not None:
                self._waiting_tasks.pop(turn.task, None)

    def leave(self, turn: QueuedTurn) -> None:
        """Admit the next turn."""
        turn.task = None  # its frame refers to the turn
        key = turn.key
        if self._running.get(key) is not turn:
            return  # its event loop has ended, and turns of another one have started
        if turn.left is not None:
            turn.left.set_result(None)
        waiting = self._waiting.get(key)
        while waiting:
            admitted, following = waiting.popitem(last=False)
            if not admitted.done():
                self._running[key] = following
                if following.task is not None:
                    self._waiting_tasks.pop(following.task, None)
                admitted.set_result(True)
                return
        del self._running[key]

    def turns_of(self, session_id: str) -> list[QueuedTurn]:
        """Return the turns of a session that were admitted and have not left."""
        if self.exclusive:
            return [self._running[session_id]] if session_id in self._running else []
        return [turn for turn in self._running.values() if turn.session_id == session_id]

    def find_around(self, session_id: str) -> QueuedTurn | None:
        """Return the innermost turn of a session that runs around the caller and does not save yet."""
        for turn in reversed(around.get()):
            if turn.session_id == session_id and turn.queue is self and turn.is_running and not turn.is_saving:
                return turn
        return None

    def is_around(self, owner: object) -> bool:
        """Return whether a turn of this owner runs around the caller."""
        return any(turn.is_running and turn.queue is self and turn.owner is owner for turn in around.get())

    async def drain(self, owner: object, deadline: float) -> None:
        """Wait until no turn of this owner runs any more.

        Raises:
            TurnTimeoutError: Some still ran at the deadline.
        """
        self.enter_loop()
        while turns := [turn for turn in self._running.values() if turn.owner is owner]:
            if time.monotonic() >= deadline:
                raise TurnTimeoutError(
                    turns[0].session_id,
                    f"turns were still running when their store was closed: {len(turns)}, the first of session "
                    f"{turns[0].session_id!r} ({turns[0].describe()})",
                )
            left = [turn.wait_until_left() for turn in turns]
            await asyncio.wait(left, timeout=deadline - time.monotonic())

    def _start_over(self) -> None:
        if self.binding.was_inherited:
            keep(self._running, self._waiting, self._waiting_tasks, self.destructions)
        self._running, self._waiting, self._waiting_tasks, self.destructions = {}, {}, {}, {}
        self._on_new_loop(asyncio.get_running_loop())

    def check_not_nested(self, turn: QueuedTurn, outer: tuple[QueuedTurn, ...]) -> None:
        """Raise `NestedTurnError` if the turn would wait for one of the turns around it."""
        if self.exclusive and any(each.session_id == turn.session_id and each.queue is self for each in outer):
            raise NestedTurnError(
                f"a turn of session {turn.session_id!r} is already running here, and a second one would wait for it forever",
                remedy="Use the session of the running turn, or start the new turn after it has ended.",
            )

    def _check_deadlock(self, turn: QueuedTurn) -> None:
        """Raise `TurnTimeoutError` if the turn ahead waits, directly or indirectly, for the task of this one."""
        ahead: QueuedTurn | None = turn
        while ahead is not None and (ahead := self._running.get(ahead.key)) is not None and ahead.task is not None:
            if ahead.task is turn.task:
                raise self._timeout(
                    turn,
                    "that task waits for a session that this task holds, so both would wait forever",
                    "Start turns of several sessions in the same order everywhere.",
                )
            ahead = self._waiting_tasks.get(ahead.task)

    def _timeout(self, turn: QueuedTurn, reason: str, remedy: str) -> TurnTimeoutError:
        holder = self._running[turn.key].describe()
        return TurnTimeoutError(
            turn.session_id, f"session {turn.session_id!r} is in another turn ({holder}), and {reason}", remedy=remedy
        )


_shared: WeakKeyDictionary[SessionStore, TurnQueue] = WeakKeyDictionary()


def queue_for(store: SessionStore, lock: Lock, on_new_loop: Callable[[asyncio.AbstractEventLoop], None]) -> TurnQueue:
    """Return the queue for the turns of a store.

    With the lock `auto`, all `Sessions` objects over the same in-process store share one queue, which takes the place of leases.
    """
    queue = TurnQueue(exclusive=lock != "none", on_new_loop=on_new_loop)
    return _shared.setdefault(store, queue) if lock == "auto" and is_in_process(store) else queue


def _give_up(admitted: asyncio.Future[bool]) -> None:
    if not admitted.done():
        admitted.set_result(False)
