"""Bots in separate processes that log each turn and its outcome to a journal.

A process has one `Sessions` and several clients, and each client takes turns one after another. A process appends a
line to its journal file before and after each turn, so a killed process loses none of its lines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faults.histories import Found

from botsession import (
    Session,
    SessionConflictError,
    Sessions,
    StoreError,
    TurnTimeoutError,
)

INITIAL_STATE: dict[str, Any] = {"tokens": [], "count": 0}

_PAUSE = 0.02
"""Maximum delay, in seconds, before a client retries after an error."""


@dataclass
class Plan:
    """The workload of one process.

    Attributes:
        name: Prefix of the client names, and therefore of the tokens.
        driver: The driver that stores the sessions.
        options: The driver's options.
        ids: Session ids; a client picks one for each turn.
        folder: Holds the journal. The process starts when the file `go` appears there and ends when `stop` does.
        seed: Seed of the random choices.
        clients: Number of clients.
        turns: Acknowledged turns after which a client ends; `None` means never.
        settings: Additional arguments of `Sessions`.
        by_update: Whether to take turns with `Sessions.update`.
        padding: Maximum number of characters by which a state grows or shrinks.
        hold: Name of a file in the folder that a client waits for inside each turn.
    """

    name: str
    driver: str
    options: dict[str, Any]
    ids: list[str]
    folder: str
    seed: str
    clients: int = 16
    turns: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    by_update: bool = False
    padding: int = 0
    hold: str | None = None

    def journal(self) -> Path:
        return Path(self.folder, f"{self.name}.journal")

    def sessions(self) -> Sessions:
        source = {"driver": self.driver, "stores": {self.driver: self.options}}
        return Sessions(source, expires_in=None, initial_state=INITIAL_STATE, **self.settings)


def run(plan: Plan) -> None:
    """Run the bots of a plan in this process."""
    warnings.simplefilter("error")
    asyncio.run(_run(plan))


async def _run(plan: Plan) -> None:
    journal = Journal(plan.journal())
    async with plan.sessions() as sessions:
        journal.note(ready=True)
        await asyncio.to_thread(_wait_for, Path(plan.folder, "go"))
        async with asyncio.TaskGroup() as group:
            for number in range(plan.clients):
                group.create_task(Client(plan, sessions, journal, f"{plan.name}c{number}").run())
    journal.note(done=True)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.002)


class Journal:
    """A file that receives each line immediately."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, **line: object) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


class Client:
    """A client that runs turns and records each in the journal."""

    def __init__(self, plan: Plan, sessions: Sessions, journal: Journal, name: str) -> None:
        self._plan = plan
        self._sessions = sessions
        self._journal = journal
        self._name = name
        self._chance = random.Random(f"{plan.seed} {name}")
        self._stop = Path(plan.folder, "stop")

    async def run(self) -> None:
        acknowledged = 0
        for number in itertools.count():
            if acknowledged == self._plan.turns or (self._plan.turns is None and self._stop.exists()):
                return
            if await self._turn(f"{self._name}t{number}", self._chance.choice(self._plan.ids)):
                acknowledged += 1
            else:
                await asyncio.sleep(self._chance.uniform(0, _PAUSE))

    async def _turn(self, token: str, session_id: str) -> bool:
        """Run one turn, and return whether it was acknowledged."""
        found: Found | None = None
        padding = self._chance.randint(0, self._plan.padding)

        def append(session: Session) -> None:
            nonlocal found
            found = Found.of(session.state)
            session.state["tokens"].append(token)
            session.state["count"] += 1
            if padding:
                session.state["padding"] = "x" * padding

        self._journal.note(client=self._name, token=token, id=session_id, began=time.monotonic())
        failure: StoreError | None = None
        try:
            if self._plan.by_update:
                await self._sessions.update(session_id, append)
            else:
                async with self._sessions.turn(session_id) as session:
                    append(session)
                    if self._plan.hold:
                        await self._hold(token, session, Path(self._plan.folder, self._plan.hold))
        except StoreError as error:
            failure = error
        ended = time.monotonic()
        self._journal.note(
            token=token,
            ended=ended,
            fate=_fate(failure, sent=found is not None),
            error=failure and f"{type(failure).__name__}: {failure}",
            found=found and asdict(found),
        )
        return failure is None

    async def _hold(self, token: str, session: Session, until: Path) -> None:
        self._journal.note(token=token, inside=True)
        await asyncio.to_thread(_wait_for, until)
        self._journal.note(token=token, lease_lost=session.lease_lost)


def _fate(failure: StoreError | None, *, sent: bool) -> str:
    if failure is None:
        return "acknowledged"
    if isinstance(failure, SessionConflictError | TurnTimeoutError) or not sent:
        return "refused"
    return "unknown"
