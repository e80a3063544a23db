"""Group commit: concurrent calls for one session each become one call for many.

While one call is under way, further ones gather; when it has come back, all that have gathered go together. A call that
finds nobody under way goes at once, so that a lone turn waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from botsession.errors import StoreError

EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

LARGEST: Final = 32
"""How many entries go together at most."""


class Gathering(Generic[EntryT, OutcomeT]):
    """Calls one entry at a time, or many at once.

    Each caller gets its own outcome and its own error. A caller that is cancelled before its entry goes is left out; one
    that is cancelled later hears of it when the call has come back, so that its entry is not carried out afterwards.

    Args:
        one: Does it for one entry.
        many: Does it for many: for each entry the outcome, or the error that `one` would have raised.
        session_id: Tells the session of an entry, where `many` takes at most one for each session: the next one for the
            same session goes in a later call.
    """

    def __init__(
        self,
        one: Callable[[EntryT], Awaitable[OutcomeT]],
        many: Callable[[Sequence[EntryT]], Awaitable[Sequence[OutcomeT | Exception]]],
        *,
        session_id: Callable[[EntryT], str] | None = None,
    ) -> None:
        self._one = one
        self._many = many
        self._session_id = session_id
        self._loop: asyncio.AbstractEventLoop
        self._under_way = False
        self._crowded = False
        self._waiting: deque[_Waiter[EntryT, OutcomeT]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins, or begins anew, in an event loop: who was under way in one that has ended does not come back."""
        self._loop, self._under_way = loop, False
        self._waiting.clear()

    async def __call__(self, entry: EntryT) -> OutcomeT:
        """Does it for one entry, alone or together with others."""
        loop = self._loop
        if not self._under_way:
            self._under_way = True
            if not self._crowded:
                try:
                    return await self._one(entry)
                finally:
                    if self._waiting:
                        self._come_back(loop)
                    else:
                        self._under_way = False
            loop.call_soon(self._come_back, loop)
        waiter: _Waiter[EntryT, OutcomeT] = _Waiter(entry, loop.create_future())
        self._waiting.append(waiter)
        try:
            return await waiter.outcome
        except asyncio.CancelledError:
            if waiter.under_way is not None:
                await asyncio.wait([waiter.under_way])
            raise

    def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sends those who have gathered meanwhile."""
        together: list[_Waiter[EntryT, OutcomeT]] = []
        sessions: set[str] = set()
        while self._waiting and len(together) < LARGEST:
            waiter = self._waiting.popleft()
            if waiter.outcome.done():
                continue
            if self._session_id is not None:
                session_id = self._session_id(waiter.entry)
                if session_id in sessions:
                    self._waiting.appendleft(waiter)
                    break
                sessions.add(session_id)
            together.append(waiter)
        if not together:
            self._under_way = False
        else:
            task = loop.create_task(self._go(together, loop))
            for waiter in together:
                waiter.under_way = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _outcomes(self, entries: Sequence[EntryT]) -> Sequence[OutcomeT | Exception]:
        outcomes = await self._many(entries)
        if len(outcomes) != len(entries):
            raise StoreError(f"the driver gave {len(outcomes)} outcomes for {len(entries)} entries")
        return outcomes

    async def _go(self, together: list[_Waiter[EntryT, OutcomeT]], loop: asyncio.AbstractEventLoop) -> None:
        try:
            outcomes = await self._outcomes([waiter.entry for waiter in together])
        except asyncio.CancelledError:
            for waiter in together:
                waiter.outcome.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each caller raises it
            outcomes = [error] * len(together)
        finally:
            self._crowded = len(together) > 1
            self._come_back(loop)
        for waiter, outcome in zip(together, outcomes, strict=True):
            if waiter.outcome.done():
                continue
            if isinstance(outcome, Exception):
                waiter.outcome.set_exception(outcome)
            else:
                waiter.outcome.set_result(outcome)


class _Waiter(msgspec.Struct, Generic[EntryT, OutcomeT], eq=False):
    entry: EntryT
    outcome: asyncio.Future[OutcomeT]
    under_way: asyncio.Task[None] | None = None
