from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from botsession import (
    Claim,
    ConfigError,
    Session,
    SessionConflictError,
    Step,
    StoreUnavailableError,
)
from botsession.storage import records
from botsession.testing import ManualClock
from botsession_file import FileSessionStore, locks
from botsession_file.names import place


def with_store(path: Path, body: Callable[[FileSessionStore], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        store = await FileSessionStore(path, **options).init()
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(run())


@contextlib.contextmanager
def lock_held(store: FileSessionStore, key: str) -> Iterator[None]:
    with (store.dirname / place(key).shard / ".lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_python(program: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_a_store_whose_directory_is_gone_is_not_empty(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        shutil.rmtree(store.dirname)
        for remains in (False, True):  # an unmounted volume leaves an empty directory
            if remains:
                store.dirname.mkdir()
            for call in (
                store.read("a:1"), store.write("a:1", Session("a:1")), store.destroy("a:1"), store.scan(),
                store.replace("a:1", Session("a:1"), expected=None), store.touch("a:1", None), store.ping(),
                store.purge(), store.read_many(["a:1"]), store.commit([Step.remove("a:1")]),
                store.commit([Step.replace(Session("a:1"), None), Step.replace(Session("a:2"), None)]),
            ):  # fmt: skip
                with pytest.raises(StoreUnavailableError, match="bring it back") as caught:
                    await call
                assert isinstance(caught.value.__cause__, FileNotFoundError)
                assert str(store.dirname) in str(caught.value)
        assert list(store.dirname.iterdir()) == []
        await store.init()
        assert await store.read("a:1") is None

    with_store(tmp_path / "s", body)


def test_a_subdirectory_is_no_way_out(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        (tmp_path / "outside").mkdir()
        shard = store.dirname / place("a:1").shard
        shard.symlink_to(tmp_path / "outside")
        for call in (store.read("a:1"), store.write("a:1", Session("a:1")), store.scan(), store.purge()):
            with pytest.raises(StoreUnavailableError, match="lies in place"):
                await call
        shard.unlink()
        shard.touch()
        with pytest.raises(StoreUnavailableError, match="lies in place"):
            await store.read("a:1")

    with_store(tmp_path / "s", body)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("dirname", ["file", "file/below"])
def test_dirname_is_a_file(tmp_path: Path, dirname: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="no directory"):
        asyncio.run(FileSessionStore(tmp_path / dirname).init())
    assert (tmp_path / "file").read_text() == "mine"


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".botsession").write_text("botsession-file 2\n")
    with pytest.raises(ConfigError, match="another version"):
        asyncio.run(FileSessionStore(tmp_path).init())
    assert (tmp_path / ".botsession").read_text() == "botsession-file 2\n"


def test_a_directory_without_permission(tmp_path: Path) -> None:
    """The process runs as a user who does not own the directory, or who has lost access to it."""
    program = """
import asyncio, os, sys
import botsession_file.store, botsession
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
async def main():
    for name in ("closed", "closed/below"):
        try:
            await botsession_file.FileSessionStore(name).init()
        except botsession.StoreUnavailableError as error:
            assert "Give the directory to the user" in str(error), error
            assert isinstance(error.__cause__, PermissionError)
            print("refused")
asyncio.run(main())
"""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o500)
    run = f"import os; os.chdir({str(tmp_path)!r})\n{program}"
    assert run_python(run) == "refused\nrefused\n"


def test_a_session_larger_than_files_may_be(tmp_path: Path) -> None:
    program = """
import asyncio, os, resource, sys
import botsession
from botsession import Step, Session, SessionTooLargeError
from botsession_file import FileSessionStore
async def main():
    store = await FileSessionStore(sys.argv[1]).init()
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    small = Session("a:1", {"n": 1})
    await store.write("a:1", small)
    large = Session("a:1", {"text": "x" * 20_000})
    for call in (store.write("a:1", large), store.replace("a:1", large, expected=small.version)):
        try:
            await call
        except SessionTooLargeError as error:
            assert isinstance(error.__cause__, OSError)
    outcomes = await store.commit([Step.replace(large, small.version), Step.replace(Session("a:2"), None)])
    assert isinstance(outcomes[0], SessionTooLargeError) and outcomes[1] is None, outcomes
    assert (await store.read("a:1")).state == {"n": 1}
    await store.close()
asyncio.run(main())
"""
    run_python(program, str(tmp_path / "s"))
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_full_disk(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from botsession import Session, StoreUnavailableError
from botsession_file import FileSessionStore
async def main():
    store = await FileSessionStore(sys.argv[1]).init()
    first = Session("a:1", {"n": 1})
    await store.write("a:1", first)
    for _ in range(2):
        try:
            await store.replace("a:1", Session("a:1", {"text": "x" * 2_000_000}), expected=first.version)
        except StoreUnavailableError as error:
            assert "Make room" in str(error), error
            print("refused")
    assert (await store.read("a:1")).state == {"n": 1}
    await store.replace("a:1", Session("a:1", {"n": 2}), expected=first.version)
    await store.close()
asyncio.run(main())
"""
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1/s"'
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        str(tmp_path),
        sys.executable,
    ]
    try:
        done = subprocess.run([*command, program], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == ("refused\nrefused\n", "")


def test_a_write_that_was_cancelled_does_not_happen_later(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        session = Session("a:1", {"n": 1})
        await store.write("a:1", session)
        changes = [
            store.write("a:1", Session("a:1", {"late": True})),
            store.replace("a:1", Session("a:1", {"late": True}), expected=session.version),
            store.destroy("a:1"),
        ]
        with lock_held(store, "a:1"):
            for change in changes:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(change, 0.03)
        await store.replace("a:1", Session("a:1", {"n": 2}), expected=session.version)
        await store.close()
        await store.init()
        found = await store.read("a:1")
        assert found is not None and found.state == {"n": 2}
        assert list(store.dirname.rglob("*.tmp")) == []

    with_store(tmp_path / "s", body)


def test_a_purge_that_takes_a_writer_for_dead(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        changes: dict[str, Callable[[str], Awaitable[None]]] = {
            "a:1": lambda key: store.write(key, Session(key, {"n": 2})),
            "a:2": lambda key: store.replace(key, Session(key, {"n": 2}), expected=None),
        }
        for key, change in changes.items():
            shard = store.dirname / place(key).shard
            shard.mkdir()
            (shard / ".lock").touch()
            with lock_held(store, key):
                changing = asyncio.ensure_future(change(key))
                async with asyncio.timeout(30):
                    while not (drafts := [path for path in shard.glob(".*.tmp") if path.stat().st_size]):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
                for draft in drafts:
                    draft.unlink()
            await changing
            assert list(shard.glob(".*.tmp")) == []
        for key in ("a:1", "a:2"):
            found = await store.read(key)
            assert found is not None and found.state == {"n": 2}

    with_store(tmp_path / "s", body)


def test_nobody_waits_while_another_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slow disk syncs, the lock is not held."""
    is_syncing, may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def fsync(descriptor: int, sync: Callable[[int], None] = os.fsync) -> None:
        is_syncing.release()
        assert may_go_on.acquire(timeout=30)
        sync(descriptor)

    async def body(store: FileSessionStore) -> None:
        session = Session("a:1")
        await store.write("a:1", session)
        monkeypatch.setattr(os, "fsync", fsync)
        changing = asyncio.create_task(store.replace("a:1", session, expected=session.version))
        for holder in ("while the bytes are synced", "while the name is synced"):
            assert await asyncio.to_thread(is_syncing.acquire, timeout=30)
            async with asyncio.timeout(5):
                [outcome] = await store.lease_many([Claim("a:1", holder, 60, 60)])
            assert isinstance(outcome, Session) and not changing.done()
            await store.release_leases({"a:1": holder})
            may_go_on.release()
        await changing
        monkeypatch.undo()

    with_store(tmp_path / "s", body)


def test_a_conflict_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        outcomes = await store.commit([Step.replace(Session(key), "another") for key in ("a:1", "a:2", "a:3")])
        assert [type(outcome) for outcome in outcomes] == [SessionConflictError] * 3
        assert list(store.dirname.rglob("*.tmp")) == []

    with_store(tmp_path / "s", body)


def test_a_lock_that_nobody_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_LOCK_SECONDS", 0.1)

    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1", {"n": 1}))
        with lock_held(store, "a:1"):
            waiting = [asyncio.create_task(store.write("a:1", Session("a:1", {"n": 2}))) for _ in range(40)]
            await asyncio.sleep(0.02)
            found = await asyncio.wait_for(store.read("a:1"), 5)
            assert found is not None and found.state == {"n": 1}
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, StoreUnavailableError)
                assert "another process" in str(outcome)
        await store.write("a:1", Session("a:1", {"n": 3}))

    with_store(tmp_path / "s", body)


def test_purge_does_not_remove_what_was_renewed_meanwhile(tmp_path: Path) -> None:
    clock = ManualClock()

    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        clock.advance(minutes=2)
        path = store.dirname.joinpath(*place("a:1"))
        with lock_held(store, "a:1"):
            purging = asyncio.create_task(store.purge())
            await asyncio.sleep(0.05)
            later = clock() + timedelta(minutes=1)
            path.write_bytes(records.renew(path.read_bytes(), expires_at=later, last_activity=clock()))
        assert await purging == 0
        assert await store.read("a:1") is not None

    with_store(tmp_path / "s", body, expires_in=1, clock=clock)


def test_one_entry_of_a_batch_that_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: FileSessionStore) -> None:
        (store.dirname / place("a:1").shard).touch()
        outcomes = await store.commit([Step.replace(Session(key), None) for key in ("a:1", "a:2")])
        assert isinstance(outcomes[0], StoreUnavailableError)
        assert isinstance(outcomes[0].__cause__, OSError) and outcomes[0].__cause__.errno == errno.ENOTDIR
        assert outcomes[1] is None
        with pytest.raises(StoreUnavailableError):
            await store.commit([Step.replace(Session("a:1"), None)])

    with_store(tmp_path / "s", body)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")

    def count() -> int:
        return len(list(descriptors.iterdir()))

    async def body(store: FileSessionStore) -> None:
        before = count()
        session = Session("a:1")
        await store.write("a:1", session)
        await store.replace("a:1", session, expected=session.version)
        await store.scan()
        await store.touch("a:1", None)
        path = store.dirname.joinpath(*place("a:1"))
        path.write_bytes(b"")
        for call in (store.read("a:1"), store.touch("a:1", None)):
            with contextlib.suppress(Exception):
                await call
        await store.purge()
        await store.destroy("a:1")
        assert count() == before

    with_store(tmp_path / "s", body)


def test_a_forked_process_does_not_hold_the_locks_of_a_parent_that_is_killed(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    lock = locks.Lock("00", directory, threading.Lock(), locks.Call()).__enter__()
    (ready, tell), (wait, end) = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this test has threads, of which `fork` warns
        child = os.fork()
    if not child:
        os.close(end)
        os.write(tell, b"x")
        os.read(wait, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        locks._descriptors.discard(lock._descriptor)
        os.close(lock._descriptor)  # a killed process closes its descriptors without unlocking
        with (tmp_path / ".lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for descriptor in (ready, tell, wait, directory):
            os.close(descriptor)
