"""Destruction of a session while turns of it run or wait in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botsession.errors import TurnTimeoutError
from botsession.turns.queue import QueuedTurn, TurnQueue


@asynccontextmanager
async def destruction(
    queue: TurnQueue, session_id: str, own: QueuedTurn | None, deadline: float
) -> AsyncIterator[None]:
    """Keep turns of a session from starting and saving while it is destroyed, and notify those that run.

    Args:
        queue: The queue of its turns.
        session_id: The session.
        own: The turn that destroys it, which is the only one to be notified.
        deadline: How long to wait for turns that are saving, by `time.monotonic`.

    Raises:
        TurnTimeoutError: They were still saving at the deadline.
    """
    queue.enter_loop()
    while blockers := _blockers(queue, session_id, own):
        await asyncio.wait(blockers, timeout=deadline - time.monotonic())
        if time.monotonic() >= deadline and _blockers(queue, session_id, own):
            raise TurnTimeoutError(
                session_id,
                f"session {session_id!r} was not destroyed: {_describe_blocker(queue, session_id)}",
                remedy="Try again later.",
            )
    turns = [own] if own is not None else queue.turns_of(session_id)
    running = [(turn, turn.look()) for turn in turns if turn.is_running]
    for turn in turns:
        turn.is_overtaken = not turn.is_running
    destructions = queue.destructions
    destructions[session_id] = asyncio.get_running_loop().create_future()
    try:
        yield
        for turn, then in running:
            turn.note_destruction(then)
    finally:
        destructions.pop(session_id).set_result(None)


async def wait_for_destruction(queue: TurnQueue, session_id: str, seconds: float) -> None:
    """Wait until a session is no longer being destroyed, for at most so many seconds."""
    deadline = time.monotonic() + seconds
    while session_id in queue.destructions and (left := deadline - time.monotonic()) > 0:
        await asyncio.wait([queue.destructions[session_id]], timeout=left)


def _blockers(queue: TurnQueue, session_id: str, own: QueuedTurn | None) -> list[asyncio.Future[None]]:
    """Return what must end first: another destruction, and turns that are saving, whose write may arrive late."""
    blockers = [queue.destructions[session_id]] if session_id in queue.destructions else []
    if own is None:
        blockers += [turn.wait_until_left() for turn in queue.turns_of(session_id) if turn.is_saving]
    return blockers


def _describe_blocker(queue: TurnQueue, session_id: str) -> str:
    saving = [turn.describe() for turn in queue.turns_of(session_id) if turn.is_saving]
    return f"a turn is still saving it ({saving[0]})" if saving else "another call is destroying it"
