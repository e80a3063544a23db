"""Migration from every backend to every other, interrupted and run again, while a bot is running."""

import asyncio
import contextlib
import random
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE

import backends
import pytest

from botsession import Session, Sessions, open_store
from botsession_operations import MigrationReport, migrate, save_edited


def settings(name, folder):
    return {"driver": name, "stores": {name: backends.options(name, folder)}}


async def migrated(source, target, **options):
    done = MigrationReport()
    async for _ in migrate(source, target, done, **options):
        pass
    return done


@pytest.mark.parametrize("source", backends.NAMES)
@pytest.mark.parametrize("target", backends.NAMES)
def test_all_sessions_arrive_as_they_were(source, target, tmp_path):
    async def scenario():
        out = await open_store(settings(source, tmp_path / "source")).init()
        into = await open_store(settings(target, tmp_path / "target")).init()
        try:
            expected = [Session(f"telegram:{n}", {"n": n, "half": n / 2}, expires_in=n + 1.0) for n in range(120)]
            for session in expected:
                await out.write(session.id, session)
            done = await migrated(out, into, dry_run=True)
            assert (done.copied, (await into.scan()).sessions) == (120, [])
            done = await migrated(out, into)
            assert (done.copied, done.kept, done.unreadable, done.failed) == (120, 0, [], [])
            for session in expected:
                assert await into.read(session.id) == session
            newer = Session("telegram:5", {"from": "the target's bot"})
            await asyncio.sleep(0.002)
            await into.write(newer.id, newer)
            done = await migrated(out, into)
            assert done.copied == 0
            assert done.kept >= 120
            assert await into.read(newer.id) == newer
            done = await migrated(out, into, prefix="telegram:11")
            assert done.kept >= 11
        finally:
            await out.close()
            await into.close()

    asyncio.run(scenario())


def test_an_edit_by_hand_is_newer_than_what_was_copied_before_it():
    async def scenario():
        out, into = await open_store("memory").init(), await open_store("memory").init()
        await out.write("telegram:1", Session("telegram:1", {"step": "payment"}))
        assert (await migrated(out, into)).copied == 1
        edited = await out.read("telegram:1")
        edited.state["step"] = "delivery"
        await save_edited(out, edited)
        assert (await migrated(out, into)).copied == 1
        assert await into.read("telegram:1") == edited

    asyncio.run(scenario())


def test_an_unreadable_session_does_not_stop_it(tmp_path):
    async def scenario():
        out = await open_store(settings("file", tmp_path)).init()
        into = await open_store("memory").init()
        for number in range(5):
            await out.write(f"telegram:{number}", Session(f"telegram:{number}"))
        (path,) = tmp_path.glob("sessions/*/telegram%3a3.json")
        path.write_bytes(b"{")
        done = await migrated(out, into)
        assert done.copied == 4
        assert [error.session_id for error in done.unreadable] == ["telegram:3"]
        assert path.read_bytes() == b"{"
        await out.close()

    asyncio.run(scenario())


def test_a_mover_that_is_killed_again_and_again_loses_nothing_while_a_bot_goes_on(tmp_path):
    chance = random.Random(5)
    source, target = settings("file", tmp_path), settings("redis", tmp_path)
    (tmp_path / "botsession.toml").write_text(backends_toml(source, target))
    counts = {f"telegram:{number}": 0 for number in range(400)}

    async def talk(sessions, times):
        for session_id in chance.choices(list(counts), k=times):
            async with sessions.turn(session_id) as session:
                session.state["count"] = session.state.get("count", 0) + 1
            counts[session_id] += 1

    async def scenario():
        async with Sessions(source) as sessions:
            for session_id in counts:
                await sessions.update(session_id, lambda session: session.set_state({"count": 0, "pad": "x" * 500}))
            command = [sys.executable, "-m", "botsession_console", "migrate", "file", "redis", "--rate", "2000"]
            for _ in range(4):
                mover = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=DEVNULL, stderr=DEVNULL)
                ends = time.monotonic() + 0.3 + chance.random() / 2
                while time.monotonic() < ends:
                    await talk(sessions, 5)
                with contextlib.suppress(ProcessLookupError):
                    mover.kill()
                await mover.wait()
            mover = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=PIPE, stderr=PIPE)
            output, errors = await mover.communicate()
            assert mover.returncode == 0, errors
            assert b"0 unreadable, 0 failed" in output
            expected = {session_id: await sessions.read(session_id) for session_id in counts}
        store = await open_store(target).init()
        try:
            for session_id, session in expected.items():
                assert session.state["count"] == counts[session_id]
                assert await store.read(session_id) == session
        finally:
            await store.close()

    asyncio.run(scenario())


def backends_toml(*tables):
    lines = []
    for table in tables:
        for name, options in table["stores"].items():
            lines += [f"[stores.{name}]", *(f"{key} = '{value}'" for key, value in options.items())]
    return "\n".join(lines) + "\n"
