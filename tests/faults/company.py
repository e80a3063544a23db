"""Bots in this process that share one `Sessions`, for stores created from an existing client."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

from faults.histories import Found, History, Turn, violations

from botsession import (
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
    TurnTimeoutError,
)

INITIAL_STATE: dict[str, object] = {"tokens": [], "count": 0}
SECONDS = 60
_PAUSE = 0.02
"""Maximum delay, in seconds, before a bot retries after an error."""


class Company:
    """Bots that take turns continuously while the block runs.

    Args:
        sessions: The sessions they use; the initial state must be `INITIAL_STATE`.
        ids: Session ids; a bot picks one for each turn.
        bots: Number of bots.
        seed: Seed of the random choices.

    Attributes:
        acknowledged: Number of acknowledged turns.
        errors: Number of errors that the bots saw, by kind.
    """

    def __init__(self, sessions: Sessions, ids: Sequence[str], bots: int, seed: object) -> None:
        self.acknowledged = 0
        self.errors: Counter[str] = Counter()
        self._sessions = sessions
        self._histories = {session_id: History() for session_id in ids}
        self._bots = bots
        self._seed = seed
        self._tasks: list[asyncio.Task[None]] = []
        self._at_work = asyncio.Event()
        self._in_turns = 0

    async def __aenter__(self) -> Self:
        self._at_work.set()
        self._tasks = [asyncio.create_task(self._bot(f"b{number}")) for number in range(self._bots)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=SECONDS)

    async def pause(self) -> None:
        """Let running turns finish and start no new ones."""
        self._at_work.clear()
        await self.until(lambda: not self._in_turns)

    def go_on(self) -> None:
        """Resume taking turns."""
        self._at_work.set()

    async def until_more(self, turns: int) -> None:
        """Wait until the given number of further turns have been acknowledged."""
        wanted = self.acknowledged + turns
        await self.until(lambda: self.acknowledged >= wanted)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until a condition holds; fail if a bot fails first or the wait takes too long."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"{self.acknowledged} turns acknowledged, errors: {dict(self.errors)}"
            await asyncio.sleep(0.005)

    async def account(self, *, perhaps: tuple[float, float] = (0, 0)) -> str:
        """Stop all bots and compare the stored sessions with the results they received.

        Args:
            perhaps: The interval in which an acknowledged turn may still be lost.

        Returns:
            A summary of the bots' turns.

        Raises:
            AssertionError: A turn was lost or applied twice, or the stored state contains a turn that no bot took.
        """
        await self.pause()
        first, last = perhaps
        for session_id, history in self._histories.items():
            for turn in history.turns:
                if first < turn.began < last:
                    turn.fate, turn.ended = "unknown", float("inf")
            session = await self._sessions.read(session_id)
            if session is not None:
                history.tokens, history.count = session.state["tokens"], session.state["count"]
        wrong = [f"{key}: {each}" for key, history in self._histories.items() for each in violations(history)]
        assert not wrong, f"{len(wrong)} violations with the seed {self._seed}: {wrong[:10]}"
        errors = ", ".join(f"{count} x {kind}" for kind, count in self.errors.items()) or "no error"
        return f"{self.acknowledged:,} turns acknowledged, {errors}; 0 lost, 0 duplicated"

    async def _bot(self, name: str) -> None:
        chance = random.Random(f"{self._seed} {name}")
        for number in itertools.count():
            await self._at_work.wait()
            self._in_turns += 1
            try:
                failed = await self._turn(name, f"{name}t{number}", chance.choice(list(self._histories)))
            finally:
                self._in_turns -= 1
            if failed:
                await asyncio.sleep(chance.uniform(0, _PAUSE))

    async def _turn(self, name: str, token: str, session_id: str) -> bool:
        """Run one turn, and return whether it failed."""
        turn = Turn(name, token, time.monotonic())
        self._histories[session_id].turns.append(turn)
        try:
            async with self._sessions.turn(session_id) as session:
                turn.found = Found.of(session.state)
                session.state["tokens"].append(token)
                session.state["count"] += 1
        except (StoreUnavailableError, SessionConflictError, TurnTimeoutError) as error:
            self.errors[type(error).__name__] += 1
            if turn.found is None or not isinstance(error, StoreUnavailableError):
                turn.fate, turn.ended = "refused", time.monotonic()
            return True
        turn.fate, turn.ended = "acknowledged", time.monotonic()
        self.acknowledged += 1
        return False
