"""One turn, and the line of those who wait for theirs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

from botsession.errors import NestedTurnError, TurnEndedError, TurnTimeoutError
from botsession.home import Home, keep
from botsession.ids import check_session_id
from botsession.session import StateT, end

if TYPE_CHECKING:
    from types import TracebackType

    from botsession.keeper import Beginning, Keeper
    from botsession.session import Session


class Turn(Generic[StateT]):
    """One turn, as `Sessions.turn` returns it: an asynchronous context manager that gives the session.

    It reads the session, lets the bot change it, and writes it: all of it or nothing.
    """

    __slots__ = (
        "_beginning",
        "_begun",
        "_destroyed",
        "_destroying",
        "_ended",
        "_keeper",
        "_line",
        "_outer",
        "_saving",
        "_wait",
        "entered",
        "key",
        "running",
        "session_id",
        "task",
    )

    def __init__(self, keeper: Keeper[StateT], line: Line[StateT], session_id: str, wait: float) -> None:
        self.session_id = session_id
        self.task: asyncio.Task[Any] | None = None
        self.entered = 0.0
        self._wait = wait
        self.key: Hashable = session_id if line.exclusive else object()
        self.running = False
        self._begun = False
        self._keeper = keeper
        self._line = line
        self._beginning: Beginning[StateT]
        self._outer: tuple[Turn[Any], ...] = ()
        self._destroyed = False
        self._destroying: asyncio.Lock | None = None
        self._saving = False
        self._ended: asyncio.Future[None] | None = None

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
            self._beginning = beginning = await self._keeper.begin(self.session_id, deadline)
        except BaseException:
            self._line.leave(self)
            raise
        self.running = True
        _around.set((*outer, self))
        return beginning.session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _around.set(self._outer)
        if self._line.is_inherited:
            self.running = False
            keep(self)
            if kind is None:
                self._line.check_loop()
            return
        try:
            if self._destroying is not None:
                await self._wait_for_destruction(self._destroying)
            self._saving = True
            if kind is None and not self._destroyed:
                await self._keeper.end(self._beginning)
            else:
                await self._keeper.abandon(self._beginning, error)
        finally:
            self.running = False
            end(self._beginning.session)
            del self._beginning
            self._line.leave(self)
            if self._ended is not None:
                self._ended.set_result(None)

    async def _wait_for_destruction(self, destroying: asyncio.Lock) -> None:
        try:
            async with destroying:
                pass
        except BaseException as error:
            await self._keeper.abandon(self._beginning, error)
            raise

    def describe(self) -> str:
        """Returns who is in this turn, and since when."""
        name = "" if self.task is None else f"the task {self.task.get_name()!r} of "
        doing = "is in it" if self.running else "begins it"
        return f"{name}this process {doing} since {time.monotonic() - self.entered:.2f} s"

    async def destroy(self, deadline: float) -> bool:
        """Removes the session, and the turn saves nothing; returns `False` if it was saving and has ended now.

        Raises:
            TurnTimeoutError: It was saving still at the deadline.
        """
        if self._saving:
            self._ended = self._ended or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._ended], timeout=deadline - time.monotonic())
            if not self._ended.done():
                raise TurnTimeoutError(
                    self.session_id,
                    f"session {self.session_id!r} was not destroyed: {self.describe()}, and is saving still. "
                    "Destroy it again when the store answers",
                )
            return False
        self._destroying = self._destroying or asyncio.Lock()
        async with self._destroying:
            await self._keeper.destroy(self.session_id)
            self._destroyed = True
        return True


_around: ContextVar[tuple[Turn[Any], ...]] = ContextVar("botsession_turns", default=())

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _around.set(()))  # they run in the parent


class Line(Generic[StateT]):
    """Who waits for which session, in order of arrival; holds nothing of a session that is in no turn.

    Args:
        exclusive: Whether turns of one session wait for each other; otherwise they run side by side.
        begin_in: Called with each new event loop, before the first turn in it begins.
    """

    def __init__(self, *, exclusive: bool, begin_in: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self.exclusive = exclusive
        self._begin_in = begin_in
        self._running: dict[Hashable, Turn[StateT]] = {}
        self._waiting: dict[Hashable, OrderedDict[asyncio.Future[bool], Turn[StateT]]] = {}
        self._waiters: dict[asyncio.Task[Any], Turn[StateT]] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._home = Home("the Sessions object")

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
                let_in.set_result(True)
                return
        del self._running[key]
        if self._emptied is not None and not self._running:
            self._emptied.set_result(None)
            self._emptied = None

    def running(self, session_id: str) -> Turn[StateT] | None:
        """Returns the turn that this session is in, where turns of one session wait for each other."""
        self.enter_loop()
        return self._running.get(session_id)

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

    @property
    def is_inherited(self) -> bool:
        """Whether its turns are those of the process that this one was forked from."""
        return self._home.is_inherited

    def enter_loop(self) -> None:
        """Begins anew where the event loop is another one than before: turns of one that has ended do not come back.

        Raises:
            StoreError: It belongs to another event loop that is open, or this one was inherited by a fork.
        """
        inherited = self._home.is_inherited
        if not self._home.enter():
            return
        if inherited:
            keep(self._running, self._waiting, self._waiters, self._emptied)
        self._running, self._waiting, self._waiters, self._emptied = {}, {}, {}, None
        self._begin_in(asyncio.get_running_loop())

    def check_loop(self) -> None:
        """Raises `StoreError` unless turns may go on in this event loop."""
        self._home.check()

    def leave_loop(self) -> None:
        """Lets turns begin in any event loop, unless some are running here."""
        if not self._running:
            self._home.leave()


def _give_up(let_in: asyncio.Future[bool]) -> None:
    if not let_in.done():
        let_in.set_result(False)
