"""Leases and quarantine in files: only what the suite of all drivers does not cover."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from botsession import (
    Claim,
    CorruptSessionError,
    Held,
    Session,
    SessionConflictError,
    Step,
    StoreUnavailableError,
)
from botsession_file import FileSessionStore
from botsession_file.names import CORRUPT, place

COUNT = """
import asyncio, os, sys, time
from botsession import Sessions
from botsession_file import FileSessionStore

async def main():
    folder, turns = sys.argv[1], int(sys.argv[2])
    store = await FileSessionStore(folder).init()
    async with Sessions(store, initial_state={"n": 0}, lease_wait=300) as sessions:
        for _ in range(turns):
            async with sessions.turn("count:1") as session:
                alone = os.open(folder + "/alone", os.O_CREAT | os.O_EXCL)
                await asyncio.sleep(0.001)
                session.state["n"] += 1
                os.unlink(folder + "/alone")
                os.close(alone)
    await store.close()

asyncio.run(main())
"""

HOLD = """
import asyncio, sys, time
from botsession import Claim
from botsession_file import FileSessionStore

async def main():
    store = await FileSessionStore(sys.argv[1]).init()
    outcome = await store.lease_many([Claim("a:1", "killed", float(sys.argv[2]), 1)])
    print(outcome, flush=True)
    time.sleep(600)

asyncio.run(main())
"""


def with_store(path: Path, body: Callable[[FileSessionStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        store = await FileSessionStore(path).init()
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(run())


def lock_file(store: FileSessionStore, key: str) -> Path:
    return store.dirname / place(key).shard / ".lock"


async def claimed(store: FileSessionStore, holder: str, key: str = "a:1", ttl: float = 3600.0) -> object:
    [outcome] = await store.lease_many([Claim(key, holder, ttl, 3600.0)])
    return outcome


def test_processes_take_turns(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", COUNT, str(tmp_path / "s"), "25"]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]

    async def check(store: FileSessionStore) -> None:
        session = await store.read("count:1")
        assert session is not None and session.state == {"n": 100}
        assert not lock_file(store, "count:1").read_bytes().strip()

    with_store(tmp_path / "s", check)


def test_the_lease_of_a_killed_process_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", HOLD, str(tmp_path / "s"), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "[None]\n"
        holder.send_signal(signal.SIGKILL)

    async def check(store: FileSessionStore) -> None:
        while isinstance(outcome := await claimed(store, "next"), Held):
            assert 0 < outcome.seconds <= 2
            await asyncio.sleep(0.05)
        assert outcome is None

    with_store(tmp_path / "s", check)


@pytest.mark.parametrize("ahead", [5000.0, 1e9])
def test_no_lease_outlives_the_machine(tmp_path: Path, ahead: float) -> None:
    """The lease clock restarts at boot, so a record from the future predates the boot."""

    async def body(store: FileSessionStore) -> None:
        assert await claimed(store, "a") is None
        assert isinstance(await claimed(store, "b"), Held)
        record = json.loads(lock_file(store, "a:1").read_bytes())
        record["at"] += ahead
        for held in (lease := record["leases"]["a:1"], *lease["queue"]):
            held["until"] += ahead
        lock_file(store, "a:1").write_text(json.dumps(record))
        assert await store.renew_leases({"a:1": "a"}, 60) == [False]
        assert await claimed(store, "c") is None

    with_store(tmp_path / "s", body)


@pytest.mark.parametrize("kind", ["cut", "random", "zeros", "array", "other fields"])
def test_a_torn_record_holds_no_leases(tmp_path: Path, kind: str) -> None:
    async def body(store: FileSessionStore) -> None:
        assert await claimed(store, "a") is None
        path = lock_file(store, "a:1")
        raw = path.read_bytes()
        torn = {
            "cut": raw[: len(raw) // 2],
            "random": os.urandom(10_000),
            "zeros": b"\0" * 300,
            "array": b"[1]",
            "other fields": b'{"leases":{"a:1":{"holder":5}}}',
        }
        path.write_bytes(torn[kind])
        assert await claimed(store, "b") is None
        assert isinstance(await claimed(store, "c"), Held)
        session = Session("a:1", {"n": 1})
        [outcome] = await store.commit([Step.replace(session, None, "a")])
        assert isinstance(outcome, SessionConflictError)
        assert await store.commit([Step.replace(session, None, "b")]) == [None]

    with_store(tmp_path / "s", body)


def test_a_long_record_shrinks_again(tmp_path: Path) -> None:
    """With enough waiters in one subdirectory, the record of its leases exceeds one read."""

    async def body(store: FileSessionStore) -> None:
        assert await claimed(store, "first") is None
        waiting = [f"{number:032}" for number in range(300)]
        for holder in waiting:
            assert isinstance(await claimed(store, holder), Held)
        path = lock_file(store, "a:1")
        assert path.stat().st_size > 3 * 4096
        await store.release_leases({"a:1": "first"})
        for holder in waiting:
            assert await claimed(store, holder) is None
            await store.release_leases({"a:1": holder})
        assert not path.read_bytes().strip()
        assert path.stat().st_size <= 4096

    with_store(tmp_path / "s", body)


def test_purge_forgets_leases_that_are_over(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        assert await claimed(store, "a", ttl=0.01) is None
        assert await claimed(store, "b", "a:2") is None
        await asyncio.sleep(0.02)
        assert await store.purge() == 0
        assert not lock_file(store, "a:1").read_bytes().strip()
        assert isinstance(await claimed(store, "c", "a:2"), Held)

    with_store(tmp_path / "s", body)


def test_a_lease_is_seen_nowhere_else(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        assert await claimed(store, "a") is None
        assert (await store.scan()).sessions == []
        assert [path.name for path in (store.dirname / place("a:1").shard).iterdir()] == [".lock"]
        assert not {"foreign files", "quarantine"} & {finding.topic for finding in await store.diagnose()}

    with_store(tmp_path / "s", body)


def test_claims_of_many_sessions_keep_their_positions(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        keys = [f"many:{number}" for number in range(150)]
        for key in keys[::2]:
            await store.write(key, Session(key, {"key": key}))
        for key in keys[::5]:
            assert not isinstance(await claimed(store, "other", key), Held)
        outcomes = await store.lease_many([Claim(key, "mine", 3600, 3600) for key in keys])
        for number, (key, outcome) in enumerate(zip(keys, outcomes, strict=True)):
            if number % 5 == 0:
                assert isinstance(outcome, Held)
            elif number % 2 == 0:
                assert isinstance(outcome, Session) and outcome.state == {"key": key}
            else:
                assert outcome is None
        replaced = await store.commit([Step.replace(Session(key), None, "mine") for key in keys[1::2]])
        refused = [key for key, outcome in zip(keys[1::2], replaced, strict=True) if outcome is not None]
        assert refused == [key for key in keys[1::2] if int(key[5:]) % 5 == 0]
        assert await store.lease_many([]) == []

    with_store(tmp_path / "s", body)


def test_a_subdirectory_that_cannot_be_used_is_the_outcome_of_its_claims(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        (store.dirname / place("a:1").shard).touch()
        outcomes = await store.lease_many([Claim(key, "a", 3600, 3600) for key in ("a:1", "a:2")])
        assert isinstance(outcomes[0], StoreUnavailableError) and outcomes[1] is None
        with pytest.raises(StoreUnavailableError):
            await claimed(store, "a")

    with_store(tmp_path / "s", body)


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\0garbage")


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("kept")


def _link(path: Path) -> None:
    path.symlink_to(path.parent.parent / ".botsession")


@pytest.mark.parametrize("make", [_garbage, _directory, _link, os.mkfifo])
@pytest.mark.parametrize("key", ["a:1", "Ä" * 256])
def test_quarantine_renames_whatever_lies_there(tmp_path: Path, make: Callable[[Path], None], key: str) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("b:1", Session("b:1"))
        shard, name = place(key)
        path = store.dirname / shard / name
        path.parent.mkdir(exist_ok=True)
        places: set[str] = set()
        for _ in range(2):
            make(path)
            before = os.lstat(path)
            with pytest.raises(CorruptSessionError):
                await store.read(key)
            where = await store.quarantine(key)
            assert where is not None
            aside = Path(where)
            assert aside.parent == path.parent and CORRUPT in aside.name and len(aside.name) <= 143
            after = os.lstat(aside)
            assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
            assert path not in path.parent.iterdir()
            assert await store.read(key) is None
            assert await store.quarantine(key) is None
            places.add(where)
        assert len(places) == 2
        assert (store.dirname / ".botsession").read_bytes() == b"botsession-file 1\n"
        page = await store.scan()
        assert [info.id for info in page.sessions] == ["b:1"] and page.unreadable == []
        assert await store.purge() == 0
        assert set(map(Path, places)) < set(path.parent.iterdir())
        [finding] = [each for each in await store.diagnose() if each.topic == "quarantine"]
        assert finding.level == "warning" and all(Path(where).name in finding.message for where in places)
        await store.write(key, Session(key, {"new": True}))
        assert await store.quarantine(key) is None
        found = await store.read(key)
        assert found is not None and found.state == {"new": True}

    with_store(tmp_path / "s", body)


def test_a_lease_costs_no_file_and_one_hop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: FileSessionStore) -> None:
        session = Session("a:1", {"n": 1})
        await store.write("a:1", session)
        loop = asyncio.get_running_loop()
        hop, hops = loop.run_in_executor, 0

        def counted(*given: Any) -> Any:
            nonlocal hops
            hops += 1
            return hop(*given)

        monkeypatch.setattr(loop, "run_in_executor", counted)
        found = await claimed(store, "a")
        assert isinstance(found, Session)
        assert await store.commit([Step.replace(found, session.version, "a")]) == [None]
        assert hops == 2
        keys = [f"many:{number}" for number in range(40)]
        await store.lease_many([Claim(key, "a", 3600, 3600) for key in keys])
        assert await store.commit([Step.replace(Session(key), None, "a") for key in keys]) == [None] * len(keys)
        assert hops == 4
        names = sorted(path.name for path in (store.dirname / place("a:1").shard).iterdir())
        assert names == [".lock", place("a:1").name]

    with_store(tmp_path / "s", body)


def test_the_clock_of_leases_is_the_one_of_the_machine() -> None:
    """All processes share the clock."""
    command = [sys.executable, "-c", "import time; print(time.monotonic())"]
    before = time.monotonic()
    told = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert before <= told <= time.monotonic()
