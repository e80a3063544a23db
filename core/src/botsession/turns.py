"""One turn: read the session, let the bot change it, write it; all of it or nothing."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

from botsession.errors import NestedTurnError, TurnEndedError
from botsession.ids import check_session_id

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import TypeVar

    from botsession.session import Session
    from botsession.sessions import Sessions

    StateT = TypeVar("StateT", default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")


class Turn(Generic[StateT]):
    """One turn, as `Sessions.turn` returns it: an asynchronous context manager that gives the session."""

    __slots__ = ("_before", "_destroyed", "_expected", "_running", "_saving", "_session", "_sessions", "session_id")

    def __init__(self, sessions: Sessions[StateT], session_id: str) -> None:
        self.session_id = session_id
        self._sessions = sessions
        self._running = False
        self._saving = asyncio.Lock()
        self._destroyed = False

    async def __aenter__(self) -> Session[StateT]:
        check_session_id(self.session_id)
        outer = tuple(turn for turn in _turns_around.get() if turn._running)
        if any(turn.session_id == self.session_id and turn._sessions is self._sessions for turn in outer):
            raise NestedTurnError(
                f"a turn of session {self.session_id!r} is running already and would wait for itself; "
                "use its session, or begin the turn after it has ended"
            )
        await self._sessions._line.acquire(self.session_id)
        try:
            self._session, self._expected = await self._sessions._begin(self.session_id)
            self._before = self._sessions._snapshot(self._session)
        except BaseException:
            self._sessions._line.release(self.session_id)
            raise
        self._session._turn = self
        self._running = True
        self._sessions._running[self.session_id] = self
        _turns_around.set((*outer, self))
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            async with self._saving:
                if kind is None and not self._destroyed:
                    await self._sessions._end(self._session, self._expected, self._before)
        finally:
            self._running = False
            del self._sessions._running[self.session_id]
            self._sessions._line.release(self.session_id)

    async def destroy(self) -> None:
        """Removes the session; the turn then saves nothing."""
        async with self._saving:
            await self._sessions.store.destroy(self.session_id)
            self._destroyed = True

    def check_running(self) -> None:
        """Raises `TurnEndedError` once the turn has ended."""
        if not self._running:
            raise TurnEndedError(
                f"the turn of session {self.session_id!r} has ended and nothing would save the change; "
                "is an await missing in the handler?"
            )

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._sessions.initial_state()


def in_a_turn_of(sessions: Sessions[Any]) -> bool:
    """Tells whether a turn of these sessions is running around the caller."""
    return any(turn._running and turn._sessions is sessions for turn in _turns_around.get())


_turns_around: ContextVar[tuple[Turn[Any], ...]] = ContextVar("botsession_turns", default=())


class Line:
    """Who waits for which session, in order of arrival; holds nothing of a session that nobody waits for."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._emptied: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    async def empty(self) -> None:
        """Waits until nobody has a place any more."""
        while self._places:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

    async def acquire(self, session_id: str) -> None:
        """Waits until it is one's turn."""
        place = self._places.get(session_id)
        if place is None:
            place = self._places[session_id] = _Place()
        place.users += 1
        try:
            await place.lock.acquire()
        except BaseException:
            self._leave(session_id, place)
            raise

    def release(self, session_id: str) -> None:
        """Lets the next one in."""
        place = self._places[session_id]
        place.lock.release()
        self._leave(session_id, place)

    def _leave(self, session_id: str, place: _Place) -> None:
        place.users -= 1
        if not place.users:
            del self._places[session_id]
            if not self._places and self._emptied is not None:
                self._emptied.set_result(None)
                self._emptied = None


class _Place:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
