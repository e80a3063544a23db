"""Export and import, from every backend into every other."""

import asyncio

import backends
import pytest

from botsession import ConfigError, Session, open_store
from botsession.testing import ManualClock
from botsession_operations import (
    ExportReport,
    ImportReport,
    archive,
    export_lines,
    import_lines,
)
from botsession_operations.archive import ArchiveError

COUNT = 523


def sessions():
    """A fixed set of sessions with ids, states and lifetimes of all kinds."""
    return {
        f"telegram:{number}": Session(
            f"telegram:{number}",
            {"number": number, "text": "é🎉" * (number % 7), "half": number / 2, "deep": [{"$k": [None, True]}]},
            {"name": str(number)} if number % 3 else None,
            expires_in=number + 1.5 if number % 5 == 0 else None if number % 5 == 1 else 525_600,
            shape=number % 2,
        )
        for number in range(COUNT)
    }


async def exported(store, prefix=""):
    done = ExportReport()
    lines = [line async for line in export_lines(store, done, prefix)]
    return lines, done


async def imported(store, lines, **options):
    done = ImportReport()
    rejected = [each async for each in import_lines(store, lines, done, **options)]
    return rejected, done


async def store_of(name, folder):
    return await open_store({"driver": name, "stores": {name: backends.options(name, folder)}}).init()


@pytest.mark.parametrize("source", backends.NAMES)
@pytest.mark.parametrize("target", backends.NAMES)
def test_what_was_exported_is_imported_as_it_was(source, target, tmp_path):
    async def scenario():
        out = await store_of(source, tmp_path / "source")
        into = await store_of(target, tmp_path / "target")
        try:
            expected = sessions()
            for session in expected.values():
                await out.write(session.id, session)
            lines, done = await exported(out)
            assert done.sessions == len(lines) - 2 >= COUNT
            rejected, done = await imported(into, lines)
            assert rejected == []
            assert (done.stored, done.complete) == (COUNT, True)
            for session in expected.values():
                assert await into.read(session.id) == session
            rejected, done = await imported(into, lines)
            assert (rejected, done.stored) == ([], 0)
        finally:
            await out.close()
            await into.close()

    asyncio.run(scenario())


def test_what_is_newer_in_the_store_stays_unless_told_otherwise():
    async def scenario():
        store = await open_store("memory").init()
        old = Session("telegram:1", {"from": "export"})
        await store.write(old.id, old)
        lines, _ = await exported(store)
        newer = Session("telegram:1", {"from": "bot"})
        await asyncio.sleep(0.002)
        await store.write(newer.id, newer)
        _, done = await imported(store, lines)
        assert (done.stored, done.kept) == (0, 1)
        assert (await store.read(old.id)).state == {"from": "bot"}
        _, done = await imported(store, lines, existing="overwrite")
        assert done.stored == 1
        assert await store.read(old.id) == old
        lines, _ = await exported(store)
        await store.destroy(old.id)
        older = Session("telegram:1", {"from": "older"})
        await store.write(older.id, older)
        _, done = await imported(store, lines, existing="skip")
        assert done.kept == 1
        assert (await store.read(old.id)).state == {"from": "older"}

    asyncio.run(scenario())


def test_bad_lines_are_told_by_number_and_nothing_of_them_is_stored():
    async def scenario():
        source = await open_store("memory").init()
        for number in range(3):
            await source.write(f"telegram:{number}", Session(f"telegram:{number}", {"number": number}))
        lines, _ = await exported(source)
        damaged = [
            lines[0],
            lines[1],
            b"not JSON\n",
            lines[2].replace(b'"version":"', b'"version":"", "x":"'),
            lines[3].replace(b'"number":2', b'"number":12345678901234567890123'),
            lines[1].replace(b"telegram:0", b""),
            b"\xff\n",
            b"\n",
        ]
        target = await open_store("memory").init()
        rejected, done = await imported(target, damaged)
        assert [each.number for each in rejected] == [3, 4, 5, 6, 7, 8]
        assert [each.line for each in rejected] == damaged[2:]
        assert (done.stored, done.rejected, done.complete) == (1, 6, False)
        assert [info.id for info in (await target.scan()).sessions] == ["telegram:0"]

    asyncio.run(scenario())


def test_what_has_expired_is_left_out():
    async def scenario():
        clock = ManualClock()
        source = await open_store("memory", expires_in=10, clock=clock).init()
        await source.write("telegram:1", Session("telegram:1"))
        lines, done = await exported(source)
        assert done.sessions == 1
        clock.advance(minutes=10)
        _, done = await imported(await open_store("memory", clock=clock).init(), lines)
        assert (done.stored, done.expired) == (0, 1)
        _, done = await imported(await open_store("memory").init(), lines, clock=clock)
        assert (done.stored, done.expired) == (0, 1)
        with pytest.raises(ConfigError, match="the clock gave"):
            await imported(await open_store("memory").init(), lines, clock=lambda: clock().replace(tzinfo=None))

    asyncio.run(scenario())


@pytest.mark.parametrize("first", [b"", b"hello\n", b'{"botsession":"export","format":2}\n', b'{"id":"a:1"}\n'])
def test_what_is_no_export_is_refused(first):
    async def scenario():
        with pytest.raises(ArchiveError, match=r"not an export's header|has format 2"):
            await imported(await open_store("memory").init(), [first] if first else [])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        (lambda lines: lines, "line 6: another export begins after the end of the export on line 5"),
        (lambda lines: lines[1:2], "line 6: there is more text after the end"),
        (lambda lines: [b"\n", b"x"], "line 7: there is more text after the end"),
        (lambda lines: lines[-1:], "line 6: there is more text after the end"),
    ],
    ids=["joined", "a session", "a blank and a word", "the end again"],
)
def test_what_follows_the_end_is_refused(rest, what):
    async def scenario():
        source, target = await open_store("memory").init(), await open_store("memory").init()
        for number in range(3):
            await source.write(f"telegram:{number}", Session(f"telegram:{number}"))
        lines, _ = await exported(source)
        whole = [*lines, *rest(lines)]
        for call in (imported(target, whole), asyncio.to_thread(archive.check_end, whole)):
            with pytest.raises(ArchiveError, match=what):
                await call
        assert (await target.scan()).sessions == []
        archive.check_end([*lines, b"\n", b" "])
        archive.check_end(lines[:-1])
        _, done = await imported(target, [*lines, b"\n"])
        assert (done.stored, done.complete) == (3, True)

    asyncio.run(scenario())


def test_a_version_that_could_not_be_read_again_is_rejected():
    async def scenario():
        source = await open_store("memory").init()
        await source.write("telegram:1", session := Session("telegram:1"))
        lines, _ = await exported(source)
        lines[1] = lines[1].replace(session.version.encode(), rb"a\"b")
        [rejected], done = await imported(await open_store("memory").init(), lines)
        assert (rejected.number, done.stored) == (2, 0)
        assert "$.version" in rejected.reason

    asyncio.run(scenario())
