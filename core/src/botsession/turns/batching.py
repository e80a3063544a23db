"""Group commit: concurrent calls for one entry each become one call for many entries.

While a call is in progress, further entries are collected; when it returns, they are sent in one batch. An entry that arrives
while no call is in progress is sent at once, so a lone turn waits for nothing.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _unregister_task as unregister  # documented for custom tasks, see "Extending asyncio"
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from botsession.errors import StoreError

T = TypeVar("T")
EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

LARGEST: Final = 32
"""The largest number of entries in one batch."""


class Batcher(Generic[EntryT, OutcomeT]):
    """Calls `many` for concurrent entries, and `one` for a lone entry.

    Each caller gets its own outcome or error. A caller that is cancelled before its entry is sent is left out; one that is
    cancelled later continues when the call has returned, so that its entry is not carried out afterwards.

    Args:
        many: Carries out many entries; returns for each its outcome or its error.
        one: Carries out one entry, and raises its error; `None` if there is no shorter way than `many`.
        session_id: Returns the session of an entry, if `many` takes at most one entry for each session. The next entry for the
            same session then goes into a later batch.
    """

    def __init__(
        self,
        many: Callable[[Sequence[EntryT]], Awaitable[Sequence[OutcomeT | Exception]]],
        *,
        one: Callable[[EntryT], Coroutine[Any, Any, OutcomeT]] | None = None,
        session_id: Callable[[EntryT], str] | None = None,
    ) -> None:
        self._one = one
        self._many = many
        self._session_id = session_id
        self._loop: asyncio.AbstractEventLoop
        self._is_calling = False
        self._is_crowded = False
        self._waiting: deque[_Waiter[EntryT, OutcomeT]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this event loop from now on; calls of one that has ended do not return."""
        self._loop, self._is_calling = loop, False
        self._waiting.clear()

    async def __call__(self, entry: EntryT) -> OutcomeT:
        """Carry out one entry, alone or in a batch."""
        loop = self._loop
        if not self._is_calling and not self._is_crowded:
            self._is_calling = True
            try:
                return await self._one(entry) if self._one else _result(*await self._many([entry]))
            finally:
                if self._waiting:
                    self._send(loop)
                else:
                    self._is_calling = False
        waiter = self._join(entry)
        try:
            await waiter.answered
        except asyncio.CancelledError:
            if waiter.call is not None:
                await asyncio.wait([waiter.call])
            raise
        return _result(*waiter.answer)

    async def carry_out(self, entry: EntryT) -> asyncio.CancelledError | None:
        """Carry out one entry to its end, even if the caller is cancelled.

        Returns:
            The cancellation that arrived in the meantime, for the caller to raise.
        """
        waiter = self._join(entry, is_shielded=True)
        cancelled: asyncio.CancelledError | None = None
        while not waiter.answer:
            if waiter.answered.done():
                waiter.answered = self._loop.create_future()
            try:
                await waiter.answered
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
        _result(*waiter.answer)
        return cancelled

    def _join(self, entry: EntryT, *, is_shielded: bool = False) -> _Waiter[EntryT, OutcomeT]:
        """Add an entry to the next batch, and send that at once if no call is in progress."""
        loop = self._loop
        waiter: _Waiter[EntryT, OutcomeT] = _Waiter(entry, loop.create_future(), is_shielded)
        self._waiting.append(waiter)
        if not self._is_calling:
            self._is_calling = True
            if self._is_crowded:
                loop.call_soon(self._send, loop)
            else:
                self._send(loop)
        return waiter

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the call for the entries that were collected."""
        batch: list[_Waiter[EntryT, OutcomeT]] = []
        sessions: set[str] = set()
        while self._waiting and len(batch) < LARGEST:
            waiter = self._waiting.popleft()
            if waiter.answered.cancelled() and not waiter.is_shielded:
                continue
            if self._session_id is not None:
                session_id = self._session_id(waiter.entry)
                if session_id in sessions:
                    self._waiting.appendleft(waiter)
                    break
                sessions.add(session_id)
            batch.append(waiter)
        if not batch:
            self._is_calling = False
            return
        task = hidden_task(loop, self._call(batch, loop))
        for waiter in batch:
            waiter.call = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, batch: list[_Waiter[EntryT, OutcomeT]], loop: asyncio.AbstractEventLoop) -> None:
        outcomes: Sequence[OutcomeT | BaseException]
        try:
            if self._one is not None and len(batch) == 1:
                outcomes = [await self._one(batch[0].entry)]
            else:
                outcomes = await self._many([waiter.entry for waiter in batch])
                if len(outcomes) != len(batch):
                    raise StoreError(  # noqa: TRY301 - each caller raises it
                        f"the driver returned {len(outcomes)} outcomes for {len(batch)} entries"
                    )
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - likewise
            outcomes = [error] * len(batch)
        finally:
            self._is_crowded = len(batch) > 1
            self._send(loop)
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.answer = (outcome,)
            if not waiter.answered.done():
                waiter.answered.set_result(None)


class _Waiter(msgspec.Struct, Generic[EntryT, OutcomeT], eq=False):
    """A caller that waits for the outcome of its entry.

    Attributes:
        entry: The entry.
        answered: Resolved when `answer` is set.
        is_shielded: Whether the entry is sent even if the caller is cancelled.
        answer: The outcome or the error, once there is one.
        call: The call that carries it out, once it was sent.
    """

    entry: EntryT
    answered: asyncio.Future[None]
    is_shielded: bool
    answer: tuple[OutcomeT | BaseException, ...] = ()
    call: asyncio.Task[None] | None = None


def _result(outcome: OutcomeT | BaseException) -> OutcomeT:
    """Return an outcome, or raise it if it is an error."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def carry_out(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Carry out some work to its end, even if the caller is cancelled.

    Returns:
        The cancellation that arrived in the meantime, for the caller to raise.
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
    """Return a task that `asyncio.run` does not cancel at its end; the caller, which is cancelled, waits for it."""
    task = loop.create_task(work)
    unregister(task)
    return task
