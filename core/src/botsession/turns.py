"""One turn, and the line of those who wait for theirs."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

from botsession.errors import NestedTurnError, TurnEndedError
from botsession.ids import check_session_id
from botsession.session import StateT

if TYPE_CHECKING:
    from types import TracebackType

    from botsession.keeper import Keeper
    from botsession.session import Session


class Turn(Generic[StateT]):
    """One turn, as `Sessions.turn` returns it: an asynchronous context manager that gives the session.

    It reads the session, lets the bot change it, and writes it: all of it or nothing.
    """

    __slots__ = (
        "_before",
        "_destroyed",
        "_expected",
        "_keeper",
        "_line",
        "_saving",
        "_session",
        "running",
        "session_id",
    )

    def __init__(self, keeper: Keeper[StateT], line: Line[StateT], session_id: str) -> None:
        self.session_id = session_id
        self.running = False
        self._keeper = keeper
        self._line = line
        self._saving = asyncio.Lock()
        self._destroyed = False

    async def __aenter__(self) -> Session[StateT]:
        check_session_id(self.session_id)
        outer = _turns_around()
        if any(turn.session_id == self.session_id and turn._line is self._line for turn in outer):
            raise NestedTurnError(
                f"a turn of session {self.session_id!r} is running already and would wait for itself; "
                "use its session, or begin the turn after it has ended"
            )
        await self._line.enter(self)
        try:
            self._session, self._expected = await self._keeper.begin(self.session_id)
            self._before = self._keeper.snapshot(self._session)
        except BaseException:
            self._line.leave(self)
            raise
        self._session._turn = self
        self.running = True
        _around.set((*outer, self))
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            async with self._saving:
                if kind is None and not self._destroyed:
                    await self._keeper.end(self._session, self._expected, self._before)
        finally:
            self.running = False
            self._line.leave(self)

    async def destroy(self) -> None:
        """Removes the session; the turn then saves nothing."""
        async with self._saving:
            await self._keeper.destroy(self.session_id)
            self._destroyed = True

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


def _turns_around() -> tuple[Turn[Any], ...]:
    """Returns the turns that are running around the caller, in this task or one from which it was started."""
    return tuple(turn for turn in _around.get() if turn.running)


class Line(Generic[StateT]):
    """Who waits for which session, in order of arrival; holds nothing of a session that nobody waits for."""

    def __init__(self) -> None:
        self._places: dict[str, _Place[StateT]] = {}
        self._emptied: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    async def enter(self, turn: Turn[StateT]) -> None:
        """Waits until it is the turn's turn."""
        place = self._places.get(turn.session_id)
        if place is None:
            place = self._places[turn.session_id] = _Place()
        place.users += 1
        try:
            await place.lock.acquire()
        except BaseException:
            self._forget(turn.session_id, place)
            raise
        place.first = turn

    def leave(self, turn: Turn[StateT]) -> None:
        """Lets the next one in."""
        place = self._places[turn.session_id]
        place.first = None
        place.lock.release()
        self._forget(turn.session_id, place)

    def running(self, session_id: str) -> Turn[StateT] | None:
        """Returns the turn that this session is in."""
        place = self._places.get(session_id)
        return None if place is None else place.first

    def is_around(self) -> bool:
        """Tells whether one of these turns is running around the caller."""
        return any(turn._line is self for turn in _turns_around())

    async def empty(self) -> None:
        """Waits until nobody has a place any more."""
        while self._places:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

    def _forget(self, session_id: str, place: _Place[StateT]) -> None:
        place.users -= 1
        if not place.users:
            del self._places[session_id]
            if not self._places and self._emptied is not None:
                self._emptied.set_result(None)
                self._emptied = None


class _Place(Generic[StateT]):
    __slots__ = ("first", "lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.first: Turn[StateT] | None = None
