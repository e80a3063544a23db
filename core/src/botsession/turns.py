"""One turn, and the line of those who wait for theirs."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

from botsession.errors import NestedTurnError, TurnEndedError
from botsession.home import Home, keep
from botsession.ids import check_session_id
from botsession.session import StateT

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
        "key",
        "running",
        "session_id",
    )

    def __init__(self, keeper: Keeper[StateT], line: Line[StateT], session_id: str) -> None:
        self.session_id = session_id
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
        if not self._line.enter_at_once(self):
            await self._line.wait(self)
        try:
            self._beginning = beginning = await self._keeper.begin(self.session_id)
        except BaseException:
            self._line.leave(self)
            raise
        beginning.session._turn = self
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
            del self._beginning  # its session knows this turn: without a cycle both are freed at once
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

    async def destroy(self) -> bool:
        """Removes the session, and the turn saves nothing; returns `False` if it was saving and has ended now."""
        if self._saving:
            self._ended = self._ended or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)
            return False
        self._destroying = self._destroying or asyncio.Lock()
        async with self._destroying:
            await self._keeper.destroy(self.session_id)
            self._destroyed = True
        return True

    @property
    def lease_lost(self) -> bool:
        """Whether the turn has lost the session's lease, so that it cannot save."""
        hold = self._beginning.hold if self.running else None
        return hold is not None and hold.lost

    def check_running(self) -> None:
        """Raises `TurnEndedError` once the turn has ended."""
        if not self.running:
            raise TurnEndedError(
                f"the turn of session {self.session_id!r} has ended and nothing would save the change; "
                "is an await missing in the handler?"
            )

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._keeper.initial_state()


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
        self._waiting: dict[Hashable, deque[tuple[Turn[StateT], asyncio.Future[None]]]] = {}
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

    async def wait(self, turn: Turn[StateT]) -> None:
        """Waits until it is the turn's turn."""
        let_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(turn.key, deque()).append((turn, let_in))
        try:
            await let_in
        except BaseException:
            if let_in.done() and not let_in.cancelled():
                self.leave(turn)
            raise

    def leave(self, turn: Turn[StateT]) -> None:
        """Lets the next one in."""
        key = turn.key
        if self._running.get(key) is not turn:
            return  # its event loop has ended, and others have begun anew
        waiting = self._waiting.get(key)
        while waiting:
            following, let_in = waiting.popleft()
            if not let_in.done():
                self._running[key] = following
                let_in.set_result(None)
                return
        if waiting is not None:
            del self._waiting[key]
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

    async def empty(self) -> None:
        """Waits until no turn is running any more."""
        self.enter_loop()
        while self._running:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

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
            keep(self._running, self._waiting, self._emptied)
        self._running, self._waiting, self._emptied = {}, {}, None
        self._begin_in(asyncio.get_running_loop())

    def check_loop(self) -> None:
        """Raises `StoreError` unless turns may go on in this event loop."""
        self._home.check()

    def leave_loop(self) -> None:
        """Lets turns begin in any event loop, unless some are running here."""
        if not self._running:
            self._home.leave()
