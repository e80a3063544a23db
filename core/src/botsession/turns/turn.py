"""One turn, and the line of those who wait for theirs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, cast

from botsession.configuration.settings import UNSET, Unset
from botsession.errors import NestedTurnError, TurnEndedError, TurnTimeoutError
from botsession.ids import check_session_id
from botsession.session import StateT, end, note_destruction
from botsession.storage.binding import LoopBinding, keep
from botsession.turns.batching import carry_out

if TYPE_CHECKING:
    from types import TracebackType

    from botsession.session import Session
    from botsession.states.state_type import Snapshot
    from botsession.turns.storage import Loaded, TurnStorage


class Turn(Generic[StateT]):
    """One turn, as `Sessions.turn` returns it: an asynchronous context manager that gives the session.

    It reads the session, lets the bot change it, and writes it: all of it or nothing.
    """

    __slots__ = (
        "_begun",
        "_destroyed",
        "_line",
        "_outer",
        "_storage",
        "_wait",
        "beginning",
        "ended",
        "entered",
        "is_overtaken",
        "is_saving",
        "key",
        "running",
        "session_id",
        "task",
    )

    def __init__(self, keeper: TurnStorage[StateT], line: TurnQueue[StateT], session_id: str, wait: float) -> None:
        self.session_id = session_id
        self.key: Hashable = session_id if line.exclusive else object()
        self.task: asyncio.Task[Any] | None = None
        self.entered = 0.0
        self.beginning: Loaded[StateT]
        self.running = False
        self.is_overtaken = False
        self.is_saving = False
        self.ended: asyncio.Future[None] | None = None
        self._wait = wait
        self._begun = False
        self._storage = keeper
        self._line = line
        self._outer: tuple[Turn[Any], ...] = ()
        self._destroyed: Snapshot | Unset | None = UNSET

    async def __aenter__(self) -> Session[StateT]:
        check_session_id(self.session_id)
        if self._begun:
            raise TurnEndedError(
                f"this turn of session {self.session_id!r} was begun before; begin another one by `sessions.turn`"
            )
        self._begun = True
        outer = _around.get()
        if outer:
            outer = tuple(turn for turn in outer if turn.running)
            self._line.check_outside(self, outer)
            self._outer = outer
        self.task = asyncio.current_task()
        self.entered = time.monotonic()
        deadline = self.entered + self._wait
        if not self._line.enter_at_once(self):
            await self._line.wait(self, deadline)
            self.entered = time.monotonic()
        try:
            if self._line.destructions:
                await self._wait_for_destruction(deadline)
            self.beginning = await self._storage.begin(self.session_id, deadline)
            while self.is_overtaken:
                await self._begin_again(deadline)
        except BaseException:
            self._line.leave(self)
            raise
        self.running = True
        _around.set((*outer, self))
        return self.beginning.session

    async def _begin_again(self, deadline: float) -> None:
        """Begins once more, as the session was destroyed in between, before or after it was read."""
        await self._storage.abandon(self.beginning, None)
        await self._wait_for_destruction(deadline)
        self.is_overtaken = False
        self.beginning = await self._storage.begin(self.session_id, deadline)

    async def _wait_for_destruction(self, deadline: float) -> None:
        left = max(deadline - time.monotonic(), _DESTRUCTION_SECONDS)
        await self._line.wait_for_destruction(self.session_id, left)
        if self.session_id in self._line.destructions:
            raise TurnTimeoutError(
                self.session_id,
                f"session {self.session_id!r} is being destroyed, and the store has not answered for all of {left:.2f} s. "
                "Try again later, or wait longer (`wait`, `lease_wait`)",
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _around.set(self._outer)
        if self._line.binding.is_inherited:
            self.running = False
            end(self.beginning.session)
            keep(self)
            if kind is None:
                self._line.check_loop()
            return
        cancelled: asyncio.CancelledError | None = None
        try:
            if kind is not None:
                await self._storage.abandon(self.beginning, error)
                return
            if self._line.destructions:
                cancelled = await carry_out(self._line.wait_for_destruction(self.session_id, self._wait))
            self.is_saving = True
            if self._destroyed is UNSET:
                await self._storage.end(self.beginning, cancelled)
            else:
                self._storage.end_destroyed(self.beginning, self._destroyed)
        finally:
            self.running = False
            end(self.beginning.session)
            del self.beginning
            self._line.leave(self)
            if self.ended is not None:
                self.ended.set_result(None)
        if cancelled is not None:
            raise cancelled

    def look(self) -> Snapshot | None:
        """Returns what its session is now, for `note_destruction`."""
        return self._storage.look(self.beginning)

    def note_destruction(self, then: Snapshot | None) -> None:
        """Takes note that its session was destroyed, and what it was then: the turn saves nothing."""
        self._destroyed = then
        if self.running:  # it may have ended before the store answered
            note_destruction(self.beginning.session)

    def describe(self) -> str:
        """Returns who is in this turn, and since when."""
        name = "" if self.task is None else f"the task {self.task.get_name()!r} of "
        doing = "is in it" if self.running else "begins it"
        return f"{name}this process {doing} since {time.monotonic() - self.entered:.2f} s"


_DESTRUCTION_SECONDS: Final = 0.25
"""How long a turn waits at least for a destruction that is under way, which is a call to the store and no turn."""

_around: ContextVar[tuple[Turn[Any], ...]] = ContextVar("botsession_turns", default=())

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _around.set(()))  # they run in the parent


class TurnQueue(Generic[StateT]):
    """Who waits for which session, in order of arrival; holds nothing of a session that is in no turn.

    Args:
        exclusive: Whether turns of one session wait for each other; otherwise they run side by side.
        begin_in: Called with each new event loop, before the first turn in it begins.

    Attributes:
        home: Where it belongs.
        destructions: The sessions that are being destroyed at present, and what is done when they are.
    """

    def __init__(self, *, exclusive: bool, begin_in: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self.exclusive = exclusive
        self._begin_in = begin_in
        self._running: dict[Hashable, Turn[StateT]] = {}
        self._waiting: dict[Hashable, OrderedDict[asyncio.Future[bool], Turn[StateT]]] = {}
        self._waiters: dict[asyncio.Task[Any], Turn[StateT]] = {}
        self._emptied: asyncio.Future[None] | None = None
        self.destructions: dict[str, asyncio.Future[None]] = {}
        self.binding = LoopBinding("the Sessions object")

    def __len__(self) -> int:
        return len(self._running)

    def check_outside(self, turn: Turn[StateT], outer: tuple[Turn[Any], ...]) -> None:
        """Raises `NestedTurnError` for a turn that would wait for one of those that are running around it."""
        if self.exclusive and any(each.session_id == turn.session_id and each._line is self for each in outer):
            raise NestedTurnError(
                f"a turn of session {turn.session_id!r} is running already and would wait for itself; "
                "use its session, or begin the turn after it has ended"
            )

    def enter_at_once(self, turn: Turn[StateT]) -> bool:
        """Lets the turn in if nobody is in one; returns whether it is.

        Raises:
            StoreError: They belong to another event loop that is open, or this one was inherited by a fork.
        """
        self.enter_loop()
        if turn.key in self._running:
            return False
        self._running[turn.key] = turn
        return True

    async def wait(self, turn: Turn[StateT], deadline: float) -> None:
        """Waits until it is the turn's turn.

        Raises:
            TurnTimeoutError: It was not at the deadline, or never will be, since those before wait for this task.
        """
        self._check_crosswise(turn)
        loop = asyncio.get_running_loop()
        let_in: asyncio.Future[bool] = loop.create_future()
        waiting = self._waiting.setdefault(turn.key, OrderedDict())
        waiting[let_in] = turn
        timer = loop.call_later(deadline - time.monotonic(), _give_up, let_in)
        if turn.task is not None:
            self._waiters[turn.task] = turn
        try:
            if not await let_in:
                raise self._timeout(
                    turn, f"and was for all of the {time.monotonic() - turn.entered:.2f} s that this one waited"
                )
        except asyncio.CancelledError:
            if not let_in.cancelled() and let_in.result():
                self.leave(turn)
            raise
        finally:
            timer.cancel()
            waiting.pop(let_in, None)
            if not waiting and self._waiting.get(turn.key) is waiting:
                del self._waiting[turn.key]
            if turn.task is not None:
                self._waiters.pop(turn.task, None)

    def _check_crosswise(self, turn: Turn[StateT]) -> None:
        """Raises `TurnTimeoutError` for a turn that would wait for one whose own task waits, in the end, for this task."""
        before: Turn[StateT] | None = turn
        while before is not None and (before := self._running.get(before.key)) is not None and before.task is not None:
            if before.task is turn.task:
                raise self._timeout(
                    turn,
                    "and waits for a session that this task is in, so that both would wait for ever; "
                    "begin turns of several sessions in the same order everywhere",
                )
            before = self._waiters.get(before.task)

    def _timeout(self, turn: Turn[StateT], reason: str) -> TurnTimeoutError:
        holder = self._running[turn.key]
        return TurnTimeoutError(
            turn.session_id, f"session {turn.session_id!r} is in another turn ({holder.describe()}), {reason}"
        )

    def leave(self, turn: Turn[StateT]) -> None:
        """Lets the next one in."""
        turn.task = None  # whose frame knows the turn
        key = turn.key
        if self._running.get(key) is not turn:
            return  # its event loop has ended, and others have begun anew
        waiting = self._waiting.get(key)
        while waiting:
            let_in, following = waiting.popitem(last=False)
            if not let_in.done():
                self._running[key] = following
                if following.task is not None:
                    self._waiters.pop(following.task, None)
                let_in.set_result(True)
                return
        del self._running[key]
        if self._emptied is not None and not self._running:
            self._emptied.set_result(None)
            self._emptied = None

    def own(self, session_id: str) -> Turn[StateT] | None:
        """Returns the turn of this session that is running around the caller; the innermost one."""
        for turn in reversed(_around.get()):
            if turn.session_id == session_id and turn._line is self and turn.running and not turn.is_saving:
                return cast("Turn[StateT]", turn)
        return None

    @asynccontextmanager
    async def destruction(self, session_id: str, own: Turn[StateT] | None, deadline: float) -> AsyncIterator[None]:
        """Keeps turns from beginning and saving while a session is destroyed, and tells those that are running.

        Args:
            session_id: The session.
            own: The turn by which it is destroyed; the only one that is told.
            deadline: Until when to wait for those that are saving.

        Raises:
            TurnTimeoutError: They were at the deadline.
        """
        self.enter_loop()
        while waited := self._in_the_way(session_id, own):
            await asyncio.wait(waited, timeout=deadline - time.monotonic())
            if time.monotonic() >= deadline and self._in_the_way(session_id, own):
                raise TurnTimeoutError(
                    session_id, f"session {session_id!r} was not destroyed: {self._describe(session_id)}"
                )
        turns = [own] if own is not None else self._turns_of(session_id)
        running = [(turn, turn.look()) for turn in turns if turn.running]
        for turn in turns:
            turn.is_overtaken = not turn.running
        destroyed = self.destructions[session_id] = asyncio.get_running_loop().create_future()
        try:
            yield
            for turn, then in running:
                turn.note_destruction(then)
        finally:
            del self.destructions[session_id]
            destroyed.set_result(None)

    async def wait_for_destruction(self, session_id: str, seconds: float) -> None:
        """Waits while a session is being destroyed, and no longer than that."""
        deadline = time.monotonic() + seconds
        while session_id in self.destructions and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait([self.destructions[session_id]], timeout=left)

    def _in_the_way(self, session_id: str, own: Turn[StateT] | None) -> list[asyncio.Future[None]]:
        """Returns what a destruction waits for: another one, and turns that are saving, whose write may come late."""
        waited = [self.destructions[session_id]] if session_id in self.destructions else []
        if own is None:
            for turn in self._turns_of(session_id):
                if turn.is_saving:
                    turn.ended = turn.ended or asyncio.get_running_loop().create_future()
                    waited.append(turn.ended)
        return waited

    def _turns_of(self, session_id: str) -> list[Turn[StateT]]:
        if self.exclusive:
            return [self._running[session_id]] if session_id in self._running else []
        return [turn for turn in self._running.values() if turn.session_id == session_id]

    def _describe(self, session_id: str) -> str:
        saving = [turn.describe() for turn in self._turns_of(session_id) if turn.is_saving]
        return f"{saving[0]}, and is saving still" if saving else "another call is destroying it"

    def is_around(self) -> bool:
        """Tells whether one of these turns is running around the caller."""
        return any(turn.running and turn._line is self for turn in _around.get())

    async def empty(self, deadline: float) -> None:
        """Waits until no turn is running any more.

        Raises:
            TurnTimeoutError: Some were at the deadline.
        """
        self.enter_loop()
        while self._running:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=deadline - time.monotonic())
            if self._running and time.monotonic() >= deadline:
                turn = next(iter(self._running.values()))
                raise TurnTimeoutError(
                    turn.session_id,
                    f"turns were still running when their store was closed: {len(self._running)}, the first of session "
                    f"{turn.session_id!r} ({turn.describe()})",
                )

    def enter_loop(self) -> None:
        """Begins anew where the event loop is another one than before: turns of one that has ended do not come back.

        Raises:
            StoreError: It belongs to another event loop that is open, or this one was inherited by a fork.
        """
        if not self.binding.enter():
            return
        if self.binding.was_inherited:
            keep(self._running, self._waiting, self._waiters, self._emptied, self.destructions)
        self._running, self._waiting, self._waiters, self._emptied, self.destructions = {}, {}, {}, None, {}
        self._begin_in(asyncio.get_running_loop())

    def check_loop(self) -> None:
        """Raises `StoreError` unless turns may go on in this event loop."""
        self.binding.check()

    def leave_loop(self) -> None:
        """Lets turns begin in any event loop, unless some are running here."""
        if not self._running:
            self.binding.leave()


def _give_up(let_in: asyncio.Future[bool]) -> None:
    if not let_in.done():
        let_in.set_result(False)
