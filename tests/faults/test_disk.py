"""Disk failures in the middle of conversations: full, read-only, missing, or replaced by something else."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from faults.company import INITIAL_STATE, Company

from botsession import (
    CorruptSessionError,
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
)
from botsession_file import FileSessionStore
from botsession_file.names import place

SECONDS = 60
IDS = [f"disk:{number}" for number in range(30)]
ID = "disk:42"

DISTURBED = """
import asyncio, os, pathlib, subprocess, sys
sys.path[:0] = sys.argv[4].split(os.pathsep)
from faults.company import INITIAL_STATE, Company
from botsession import Sessions, StoreUnavailableError
from botsession_file.store import FileSessionStore

kind, folder, seed = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
store = folder / "store"

def fill():
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 65536) == 65536:
                pass
            while filler.write(b"x"):
                pass
        except OSError:
            pass

def modes(mode):
    for path in [*store.iterdir(), store]:
        if path.is_dir():
            path.chmod(mode)

def remount(how):
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)

disturb, restore, advice = {
    "full": (fill, (folder / "filler").unlink, "Make room on its disk"),
    "read-only": (lambda: remount("ro"), lambda: remount("rw"), "Remount the file system"),
    "not ours": (lambda: modes(0o500), lambda: modes(0o700), "Give the directory to the user"),
}[kind]

async def main():
    sessions = Sessions(await FileSessionStore(store).init(), initial_state=INITIAL_STATE)
    ids = [f"disk:{number}" for number in range(30)]
    async with Company(sessions, ids, 8, seed) as company:
        await company.until_more(150)
        await company.pause()
        disturb()
        company.go_on()
        await company.until(lambda: company.errors["StoreUnavailableError"] >= 40)
        try:
            await sessions.update("disk:0", lambda session: session.set_state({"more": "x" * 100_000}))
        except StoreUnavailableError as error:
            assert advice in str(error), error
        else:
            raise AssertionError("that was stored")
        for each in ids:
            await sessions.read(each)
        await company.pause()
        restore()
        company.go_on()
        await company.until_more(150)
        print(await company.account())
        print([str(path) for path in store.rglob("*.tmp")])
    await sessions.store.close()

if kind == "not ours" and os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""

IN_A_SMALL_FILE_SYSTEM = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'


def disturbed(kind, command, folder, seed):
    """Run bots, disturb their disk while they work, and return their account."""
    path = os.pathsep.join(["tests", *sys.path])
    arguments = [kind, str(folder), str(seed), path]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=3 * SECONDS, check=False)
    if any(done.stderr.startswith(word) for word in ("unshare:", "mount:")):
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    told = [line for line in done.stderr.splitlines() if not line.startswith("the lease of session")]
    assert (done.returncode, told) == (0, [])
    account, left = done.stdout.splitlines()
    assert left == "[]"
    return account


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_takes_nothing_for_a_while(kind, tmp_path, seed, figures):
    if shutil.which("unshare") is None:
        pytest.skip("no small file system can be mounted here: unshare is missing")
    python = [sys.executable, "-W", "error", "-c", DISTURBED]
    account = disturbed(kind, [*IN_A_SMALL_FILE_SYSTEM, MOUNT, "sh", str(tmp_path), *python], tmp_path, seed)
    figures(f"file, a disk that is {kind} for a while: {account}")


def test_a_directory_that_belongs_to_another_for_a_while(seed, figures):
    with tempfile.TemporaryDirectory(prefix="botsession-nobody-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, 65534, 65534)
        account = disturbed("not ours", [sys.executable, "-W", "error", "-c", DISTURBED], folder, seed)
    figures(f"file, a directory that is read-only for a while: {account}")


@pytest.mark.parametrize("remains", [False, True], ids=["gone", "an empty one in its place"])
def test_a_directory_that_is_gone_for_a_while(remains, tmp_path, seed, figures):
    """A missing directory, such as an unmounted volume, is never taken for an empty store, and returns intact."""
    store, away = tmp_path / "store", tmp_path / "away"

    async def main():
        async with (
            Sessions("file", dirname=str(store), initial_state=INITIAL_STATE) as sessions,
            Company(sessions, IDS, 8, seed) as company,
        ):
            await company.until_more(150)
            await company.pause()
            store.rename(away)
            if remains:
                store.mkdir()
            company.go_on()
            await company.until(lambda: company.errors["StoreUnavailableError"] >= 40)
            with pytest.raises(StoreUnavailableError, match="bring it back"):
                await sessions.read(ID)
            if remains:
                assert list(store.iterdir()) == []
                store.rmdir()
            assert not store.exists()
            away.rename(store)
            await company.until_more(150)
            return await company.account()

    account = asyncio.run(asyncio.wait_for(main(), 3 * SECONDS))
    what = "and an empty one in its place " if remains else ""
    figures(f"file, a directory that is gone {what}for a while: {account}")


def a_directory(path, outside):
    path.mkdir()


def a_full_directory(path, outside):
    path.mkdir()
    (path / "mine").write_text("keep me")


def a_link_to_a_session(path, outside):
    path.symlink_to(outside)


def a_link_to_nothing(path, outside):
    path.symlink_to(outside.with_name("absent"))


def a_pipe(path, outside):
    os.mkfifo(path)


@pytest.mark.parametrize("something", [a_directory, a_full_directory, a_link_to_a_session, a_link_to_nothing, a_pipe])
@pytest.mark.parametrize("when", ["between turns", "during a turn"])
def test_something_else_in_the_place_of_a_file(something, when, tmp_path):
    async def main():
        store = await FileSessionStore(tmp_path / "store").init()
        sessions = Sessions(store)
        path = store.dirname.joinpath(*place(ID))
        outside = tmp_path / "outside.json"
        await sessions.update(ID, lambda session: session.set_state({"count": 1}))
        before = path.read_bytes()
        outside.write_bytes(before)

        def replace():
            path.unlink()
            something(path, outside)
            return describe(path)

        if when == "during a turn":
            with pytest.raises((CorruptSessionError, SessionConflictError)):
                async with sessions.turn(ID) as session:
                    session.state["count"] = 2
                    there = replace()
            assert describe(path) == there
        else:
            there = replace()
        for attempt in (lambda: sessions.read(ID), lambda: sessions.update(ID, lambda session: None)):
            async with asyncio.timeout(SECONDS):
                with pytest.raises(CorruptSessionError) as caught:
                    await attempt()
            assert caught.value.session_id == ID
            assert describe(path) == there
        assert outside.read_bytes() == before
        assert not outside.with_name("absent").exists()
        other = next(
            f"other:{number}" for number in range(10_000) if place(f"other:{number}").shard == path.parent.name
        )
        await asyncio.gather(
            *(sessions.update(each, lambda session: session.set_state({"n": 1})) for each in (other, *IDS))
        )
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        path.write_bytes(before)
        await sessions.update(ID, lambda session: session.set_state({"count": 3}))
        assert (await sessions.read(ID)).state == {"count": 3}
        assert outside.read_bytes() == before
        await store.close()

    asyncio.run(main())


def describe(path):
    kind = path.lstat().st_mode
    if path.is_symlink():
        return kind, path.readlink()
    return kind, [each.read_text() for each in path.iterdir()] if path.is_dir() else None
