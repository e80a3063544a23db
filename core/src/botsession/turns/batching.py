"""Group commit: concurrent calls for one session each become one call for many.

While one call is under way, further ones gather; when it has come back, all that have gathered go together. A call that
finds nobody under way goes at once, so that a lone turn waits for nothing.
"""

from __future__ import annotations

import asyncio
import dis
import inspect
from asyncio.tasks import _unregister_task as unregister  # documented for those who make tasks of their own
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from botsession.errors import StoreError

T = TypeVar("T")
EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

LARGEST: Final = 32
"""How many entries go together at most."""


class Batcher(Generic[EntryT, OutcomeT]):
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
        one: Callable[[EntryT], Coroutine[Any, Any, OutcomeT]],
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
        if not self._under_way and not self._crowded:
            self._under_way = True
            try:
                return await self._one(entry)
            finally:
                if self._waiting:
                    self._come_back(loop)
                else:
                    self._under_way = False
        waiter = self._join(entry)
        try:
            await waiter.answered
        except asyncio.CancelledError:
            if waiter.under_way is not None:
                await asyncio.wait([waiter.under_way])
            raise
        return waiter.outcome()

    async def carry_out(self, entry: EntryT) -> asyncio.CancelledError | None:
        """Does it for one entry to its end, also where the caller is cancelled.

        Returns:
            The cancellation that came in between, which the caller has to raise.
        """
        waiter = self._join(entry, to_its_end=True)
        cancelled: asyncio.CancelledError | None = None
        while not waiter.answer:
            if waiter.answered.done():
                waiter.answered = self._loop.create_future()
            try:
                await waiter.answered
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
        waiter.outcome()
        return cancelled

    def _join(self, entry: EntryT, *, to_its_end: bool = False) -> _Waiter[EntryT, OutcomeT]:
        """Puts an entry among those that go with the next call, and lets that go at once where none is under way."""
        loop = self._loop
        waiter: _Waiter[EntryT, OutcomeT] = _Waiter(entry, loop.create_future(), to_its_end)
        self._waiting.append(waiter)
        if not self._under_way:
            self._under_way = True
            if self._crowded:
                loop.call_soon(self._come_back, loop)
            else:
                self._come_back(loop)
        return waiter

    def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sends those who have gathered meanwhile."""
        together: list[_Waiter[EntryT, OutcomeT]] = []
        sessions: set[str] = set()
        while self._waiting and len(together) < LARGEST:
            waiter = self._waiting.popleft()
            if waiter.answered.cancelled() and not waiter.to_its_end:
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
            task = hidden_task(loop, self._go(together, loop))
            for waiter in together:
                waiter.under_way = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _outcomes(self, entries: Sequence[EntryT]) -> Sequence[OutcomeT | Exception]:
        if len(entries) == 1:
            return [await self._one(entries[0])]
        outcomes = await self._many(entries)
        if len(outcomes) != len(entries):
            raise StoreError(f"the driver gave {len(outcomes)} outcomes for {len(entries)} entries")
        return outcomes

    async def _go(self, together: list[_Waiter[EntryT, OutcomeT]], loop: asyncio.AbstractEventLoop) -> None:
        outcomes: Sequence[OutcomeT | BaseException]
        try:
            outcomes = await self._outcomes([waiter.entry for waiter in together])
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - each caller raises it
            outcomes = [error] * len(together)
        finally:
            self._crowded = len(together) > 1
            self._come_back(loop)
        for waiter, outcome in zip(together, outcomes, strict=True):
            waiter.answer = (outcome,)
            if not waiter.answered.done():
                waiter.answered.set_result(None)


class _Waiter(msgspec.Struct, Generic[EntryT, OutcomeT], eq=False):
    entry: EntryT
    answered: asyncio.Future[None]
    to_its_end: bool
    answer: tuple[OutcomeT | BaseException, ...] = ()
    under_way: asyncio.Task[None] | None = None

    def outcome(self) -> OutcomeT:
        [outcome] = self.answer
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def carry_out(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Does something to its end, also where the caller is cancelled.

    Returns:
        The cancellation that came in between, which the caller has to raise.
    """
    task = hidden_task(asyncio.get_running_loop(), work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    task.result()
    return cancelled


def hidden_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Returns a task that only its caller cancels, and that `asyncio.run` does not find where it cancels all tasks at its end.

    Its caller, which is found, waits for it.
    """
    task = loop.create_task(work)
    unregister(task)
    return task


def never_waits(method: Callable[..., Awaitable[object]]) -> bool:
    """Tells whether a method comes to its end in one step, since nothing in it is awaited: nobody can cancel it."""
    code = getattr(method, "__code__", None)
    return (
        code is not None
        and bool(code.co_flags & inspect.CO_COROUTINE)
        and all(instruction.opname != "SEND" for instruction in dis.get_instructions(code))
    )
