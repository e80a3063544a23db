"""SQLite specifics: the file, the table, and stores that share them."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botsession_sqlite import SqliteSessionStore, store

from botsession import (
    ConfigError,
    Session,
    SessionConflictError,
    Sessions,
    Step,
    open_store,
)
from botsession.testing import ManualClock

Sql = Callable[..., list[Any]]
Change = Callable[[SqliteSessionStore, str], Awaitable[list[Any]]]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/bot/s.sqlite3", "/var/bot/s.sqlite3"),
        ("sqlite://s.sqlite3", str(Path.cwd() / "s.sqlite3")),
        ("sqlite://data/a%20b%3Fc", str(Path.cwd() / "data/a b?c")),
    ],
)
def test_a_url_names_the_file(url: str, path: str) -> None:
    assert repr(open_store(url)) == f"SqliteSessionStore({path!r})"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///s?timeout=1", "sqlite:///s#1"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        open_store(url)


@pytest.mark.parametrize(
    "options", [{"path": ":memory:"}, {"path": ""}, {"path": "a\0b"}, {"timeout": -1}, {"timeout": float("nan")}]
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        open_store("sqlite", **options)


def test_the_file_is_its_owners_only(path: Path) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        await store.write("a", Session("a"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == dict.fromkeys([path.name, f"{path.name}-wal", f"{path.name}-shm"], 0o600)
        await store.close()
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    asyncio.run(main())


def test_a_file_that_is_there_keeps_its_mode(path: Path) -> None:
    path.touch(0o640)
    path.chmod(0o640)

    async def main() -> None:
        await (await SqliteSessionStore(path).init()).close()

    asyncio.run(main())
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_state_can_be_queried(path: Path, sql: Sql) -> None:
    async def main() -> None:
        async with Sessions(f"sqlite://{path}") as sessions, sessions.turn("telegram:42") as session:
            session.state["cart"] = [{"price": 3}]

    asyncio.run(main())
    query = "SELECT id, json_extract(record, '$.state.cart[0].price'), typeof(record) FROM sessions"
    assert sql(query) == [("telegram:42", 3, "text")]


def test_a_touch_moves_the_deadline_in_column_and_record(path: Path, sql: Sql) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        await store.write("a", Session("a", {"n": 1}))
        [(before,)] = sql("SELECT json_remove(record, '$.expires_at', '$.last_activity') FROM sessions")
        deadline = datetime(2100, 1, 1, tzinfo=UTC)
        assert await store.touch("a", deadline)
        [(after,)] = sql("SELECT json_remove(record, '$.expires_at', '$.last_activity') FROM sessions")
        assert after == before
        ends = "2100-01-01T00:00:00.000Z"
        assert sql("SELECT expires_at, json_extract(record, '$.expires_at') FROM sessions") == [(ends, ends)]
        found = await store.read("a")
        assert found is not None
        assert found.expires_at == deadline
        await store.close()

    asyncio.run(main())


def test_a_write_is_on_the_disk_before_it_returns(path: Path, change: Change) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        settings = "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous"
        assert await change(store, settings) == [("wal", 2)]
        await store.close()

    asyncio.run(main())


def test_each_thing_uses_its_index(path: Path, sql: Sql) -> None:
    asyncio.run(_opened_and_closed(path))
    for statement in (store.FIND, store.PUT, store.SCAN, store.QUARANTINE, store.PURGE):
        anything = (1,) * statement.count("?")
        plan = [row[3] for row in sql(f"EXPLAIN QUERY PLAN {statement}", anything)]
        assert not [step for step in plan if step.startswith(("SCAN sessions", "USE TEMP"))], plan


async def _opened_and_closed(path: Path) -> None:
    await (await SqliteSessionStore(path).init()).close()


def test_texts_that_are_no_unicode_find_nothing(path: Path) -> None:
    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        await store.write("a", Session("a"))
        assert (await store.scan("\ud800")).sessions == []
        with pytest.raises(SessionConflictError):
            await store.replace("a", Session("a"), expected="\ud800")
        outcomes = await store.commit([Step.replace(Session("a"), "\ud800"), Step.replace(Session("b"), None)])
        assert [type(outcome) for outcome in outcomes] == [SessionConflictError, type(None)]
        await store.close()

    asyncio.run(main())


def test_reads_do_not_wait_for_a_locked_writer(path: Path) -> None:
    asyncio.run(_opened_and_closed(path))
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    tell, told = holder.stdin, holder.stdout

    def ask(for_what: str) -> None:
        tell.write(f"{for_what}\n")
        tell.flush()
        told.readline()

    async def main() -> None:
        store = await SqliteSessionStore(path, timeout=30).init()
        await store.write("a", Session("a", {"n": 1}))
        ask("lock")
        writing = asyncio.create_task(store.write("a", Session("a", {"n": 2})))
        await asyncio.sleep(0.05)
        found = await store.read("a")
        assert found is not None
        assert found.state == {"n": 1}
        assert not writing.done()
        ask("unlock")
        await writing
        await store.close()

    asyncio.run(main())
    holder.communicate()


_HOLD_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in ("BEGIN IMMEDIATE", "ROLLBACK"):
    sys.stdin.readline()
    db.execute(statement)
    print("done", flush=True)
"""


def test_naming_the_driver_does_not_load_sqlite() -> None:
    naming = "import botsession_sqlite, sys; sys.exit('sqlite3' in sys.modules)"
    subprocess.run([sys.executable, "-c", naming], check=True)


def test_a_process_that_forgets_to_close_ends(path: Path) -> None:
    forgetful = (
        "import asyncio, sys\nfrom botsession import Session, open_store\n"
        "async def main():\n    global store\n    store = await open_store('sqlite', path=sys.argv[1]).init()\n"
        "    await store.write('a', Session('a'))\nasyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", forgetful, str(path)], check=True, timeout=30)


def test_many_processes_may_open_a_new_file_at_once(path: Path) -> None:
    opening = (
        "import asyncio, sys\nfrom botsession import Session, open_store\n"
        "async def main():\n    store = await open_store('sqlite', path=sys.argv[1]).init()\n"
        "    await store.write(sys.argv[2], Session(sys.argv[2]))\n    await store.close()\nasyncio.run(main())"
    )
    running = [subprocess.Popen([sys.executable, "-c", opening, str(path), f"a:{number}"]) for number in range(12)]
    assert [process.wait(60) for process in running] == [0] * 12

    async def main() -> None:
        store = await SqliteSessionStore(path).init()
        assert len((await store.scan("a:")).sessions) == 12
        await store.close()

    asyncio.run(main())


def test_a_deadline_counts_to_the_millisecond(path: Path) -> None:
    clock = ManualClock()

    async def main() -> None:
        store = await SqliteSessionStore(path, expires_in=timedelta(milliseconds=5), clock=clock).init()
        await store.write("a", Session("a"))
        clock.advance(milliseconds=4)
        assert await store.read("a") is not None
        clock.advance(milliseconds=1)
        assert await store.read("a") is None
        await store.close()

    asyncio.run(main())
