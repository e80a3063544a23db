"""Start, kill and wait for the processes of a test, and check the stored sessions against their journals."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from faults import bots
from faults.bots import Plan
from faults.histories import Found, History, Turn, violations

import servers

PATIENCE = 180.0
"""Default time limit for waits, in seconds; generous enough for a busy machine."""

ALLOWED = {
    "redis": {"StoreUnavailableError", "SessionConflictError", "TurnTimeoutError"},
    # MongoDB reports only how many writes of a batch were stored. If two other writers overwrite some of them at once,
    # it may stay unknown which were.
    "mongo": {"StoreUnavailableError", "SessionConflictError", "TurnTimeoutError", "StoreError"},
    "file": {"StoreUnavailableError", "SessionConflictError", "TurnTimeoutError"},
}
"""The errors that mean that a turn was not applied, or that its outcome is unknown."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["botsession_redis.store", "botsession_file.store", "botsession_mongo.store", "motor.motor_asyncio", "faults.bots"]
)


@dataclass
class Account:
    """The outcome of all turns.

    Attributes:
        fates: Number of turns, by fate.
        errors: Number of errors, by kind.
        examples: One message for each kind of error.
        seconds: Time from the first turn to the last.
    """

    fates: Counter[str]
    errors: Counter[str]
    examples: dict[str, str]
    seconds: float

    def __str__(self) -> str:
        acknowledged, unknown = self.fates["acknowledged"], self.fates["unknown"]
        return (
            f"{acknowledged:,} turns acknowledged, {self.fates['refused']:,} refused, {unknown:,} of unknown fate; "
            f"0 lost, 0 duplicated, {self.seconds:.1f} s"
        )

    def numbers(self) -> dict[str, object]:
        return {"fates": self.fates, "errors": self.errors, "seconds": self.seconds}


@dataclass
class Crew:
    """Bot processes with their own set of sessions.

    Attributes:
        plan: The workload that they share.
        patience: Seconds to wait for the processes.
        processes: The started processes, by name.
    """

    plan: Plan
    patience: float = PATIENCE
    processes: dict[str, Any] = field(default_factory=dict)

    def start(self, name: str, **changes: Any) -> Any:
        """Start a process and return it."""
        plan = replace(self.plan, name=name, seed=f"{self.plan.seed} {name}", **changes)
        process = processes.Process(target=bots.run, args=(plan,), name=name)
        process.start()
        self.processes[name] = process
        return process

    def go(self) -> None:
        """Start the turns once every process is ready."""
        for name in self.processes:
            wait_until(partial(self._is_ready, name), self)
        Path(self.plan.folder, "go").touch()

    def stop(self) -> None:
        """Tell all processes to stop, and wait for them."""
        Path(self.plan.folder, "stop").touch()
        self.join()

    def join(self) -> None:
        """Wait until every process that was not killed has ended on its own."""
        deadline = time.monotonic() + self.patience
        for name, process in self.processes.items():
            process.join(max(0, deadline - time.monotonic()))
            assert process.exitcode is not None, f"{name} did not end within {self.patience} s"
        self.check_alive()

    def check_alive(self) -> None:
        """Fail if a process ended with an exception, which it has printed."""
        failed = [name for name, process in self.processes.items() if process.exitcode not in (None, 0, -9)]
        assert not failed, f"{failed} ended with an exception"

    def turns(self, name: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the journal entries of each turn so far, by token."""
        turns: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for each in [name] if name else self.processes:
            for line in self._lines(each):
                if "token" in line:
                    turns[line["token"]].update(line)
        return turns

    def acknowledged(self, name: str | None = None) -> int:
        """Return the number of turns acknowledged so far."""
        return sum(turn.get("fate") == "acknowledged" for turn in self.turns(name).values())

    def failed(self) -> int:
        """Return the number of turns that failed because the store was unavailable."""
        return sum("StoreUnavailable" in (turn.get("error") or "") for turn in self.turns().values())

    def has_taken(self, name: str, turns: int) -> bool:
        """Return whether at least `turns` turns of a process have been acknowledged."""
        return self.acknowledged(name) >= turns

    def account(self, **options: Any) -> Account:
        """Compare the stored sessions with the bots' journals.

        Args:
            **options: Driver options to use instead when reading the sessions.

        Raises:
            AssertionError: A turn was lost or applied twice, a session exists that no bot stored, or a bot received an
                error other than that its turn was not applied or that its outcome is unknown.
        """
        plan = replace(self.plan, options={**self.plan.options, **options})
        turns = self.turns()
        histories = {session_id: History() for session_id in plan.ids}
        for token, turn in turns.items():
            noted = Turn(turn["client"], token, turn["began"])
            if "ended" in turn:
                found = None if turn["found"] is None else Found(**turn["found"])
                noted.fate, noted.found = turn["fate"], found
                noted.ended = noted.ended if noted.fate == "unknown" else turn["ended"]
            histories[turn["id"]].turns.append(noted)
        for session_id, state in asyncio.run(_stored(plan)).items():
            assert session_id in histories, f"a session that no bot stored: {session_id!r}"
            histories[session_id].tokens, histories[session_id].count = state["tokens"], state["count"]
        wrong = [f"{key}: {each}" for key, history in histories.items() for each in violations(history)]
        assert not wrong, f"{len(wrong)} violations with the seed {plan.seed!r}: {wrong[:10]}"
        errors = [turn["error"].partition(": ") for turn in turns.values() if turn.get("error")]
        examples = {kind: message for kind, _, message in errors}
        assert set(examples) <= ALLOWED[plan.driver], examples
        ends = [turn["ended"] for turn in turns.values() if "ended" in turn]
        return Account(
            Counter(turn.get("fate", "unknown") for turn in turns.values()),
            Counter(kind for kind, _, _ in errors),
            examples,
            max(ends, default=0) - min((turn["began"] for turn in turns.values()), default=0),
        )

    def _is_ready(self, name: str) -> bool:
        return any("ready" in line for line in self._lines(name))

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        journal = replace(self.plan, name=name).journal()
        if journal.exists():
            for line in journal.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)


@contextmanager
def crew(driver: str, ids: Sequence[str], folder: Path, seed: str, **plan: Any) -> Iterator[Crew]:
    """Yield a crew without processes on a new store. At the end, kill the processes that still run."""
    journals = folder / "journals"
    journals.mkdir()
    options = plan.pop("options", None) or store_options(driver, folder)
    patience = plan.pop("patience", PATIENCE)
    members = Crew(Plan("", driver, options, list(ids), str(journals), seed, **plan), patience)
    try:
        yield members
    finally:
        for process in members.processes.values():
            process.kill()
            process.join()


def store_options(driver: str, folder: Path, url: str | None = None) -> dict[str, Any]:
    """Return the options of a new store, on the server of this run or on the one at `url`."""
    name = f"faults{uuid.uuid4().hex}"
    if driver == "redis":
        return {"url": url or servers.redis_url(), "key_prefix": f"{name}:"}
    if driver == "mongo":
        return {"url": f"{url or servers.mongo_url()}/botsession_faults", "collection_name": name}
    return {"dirname": str(folder / "sessions")}


def wait_until(is_so: Callable[[], bool], members: Crew) -> None:
    """Wait until a condition holds; fail if a process of the crew fails first or the wait takes too long."""
    deadline = time.monotonic() + members.patience
    while not is_so():
        members.check_alive()
        assert time.monotonic() < deadline, f"the condition did not hold within {members.patience} s"
        time.sleep(0.005)


async def _stored(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the state of every stored session."""
    async with plan.sessions() as sessions:
        store: Any = sessions.store
        ids: list[str] = []
        after = None
        while True:
            page = await store.scan(after=after)
            assert not page.unreadable, page.unreadable
            ids += [info.id for info in page.sessions]
            after = page.next
            if after is None:
                break
        found = {}
        for session_id in ids:
            session = await sessions.read(session_id)
            assert session is not None, f"{session_id!r} is listed but absent"
            found[session_id] = session.state
        return found
