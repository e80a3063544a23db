from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from botsession import (
    ConfigError,
    CorruptSessionError,
    Session,
    Sessions,
    Step,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from botsession.storage import records
from botsession.testing import ManualClock
from botsession_file import FileSessionStore
from botsession_file.names import place, session_id

IDS = [
    "con", "prn", "com1",
    "A", "a", "CON", "a.", "a ", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:x", "%41", "a%3ab", "~",
    "é", "e\u0301", "K", "\u212a", "ß", "ss", "*?[]", "-rf", "x" * 512, "x" * 511 + "y", "ü" * 256, '"' * 512, "\\" * 512,
]  # fmt: skip


def path_of(store: FileSessionStore, key: str) -> Path:
    return store.dirname.joinpath(*place(key))


def session_files(store: FileSessionStore) -> list[Path]:
    return [path for path in store.dirname.rglob("*") if path.name.endswith(".json")]


def with_store(path: Path, body: Callable[[FileSessionStore], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        store = await FileSessionStore(path, **options).init()
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def scanned(store: FileSessionStore, prefix: str = "", limit: int | None = None) -> list[str]:
    found, after = [], None
    while True:
        page = await store.scan(prefix, after=after, limit=limit)
        found += [info.id for info in page.sessions]
        after = page.next
        if after is None:
            return found


def test_names_are_safe_and_tell_the_id() -> None:
    paths = {place(key) for key in IDS}
    assert len(paths) == len(IDS)
    assert len({name.casefold() for _, name in paths}) == len(IDS)
    for key in IDS:
        shard, name = place(key)
        assert len(shard) == 2 and len(name) <= 143 and name.isascii() and not name.startswith(".")
        assert set(name.removesuffix(".json")) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-%~")
        assert session_id(name) == (None if "~" in name else key)
    assert place("telegram:42").name == "telegram%3a42.json"
    assert session_id("A.json") is session_id("%ff.json") is session_id("README") is None


def test_every_id_comes_back_from_read_and_scan(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        for key in IDS:
            await store.replace(key, Session(key, {"id": key}), expected=None)
        for key in IDS:
            found = await store.read(key)
            assert found is not None and found.state == {"id": key}
        assert sorted(await scanned(store, limit=3)) == sorted(IDS)
        assert sorted(await scanned(store, "x")) == ["x" * 512, "x" * 511 + "y"]
        assert sorted(await scanned(store, "co")) == ["com1", "con"]
        inside = {path.resolve().relative_to(tmp_path / "s") for path in session_files(store)}
        assert len(inside) == len(IDS)
        assert await store.commit([Step.remove(key) for key in IDS]) == [None] * len(IDS)
        assert session_files(store) == []

    with_store(tmp_path / "s", body)
    assert list(tmp_path.iterdir()) == [tmp_path / "s"]


@pytest.mark.parametrize("mask", [0, 0o022, 0o277])
def test_only_the_owner_may_read(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with_store(tmp_path / "s", lambda store: store.write("a:1", Session("a:1")))
        with_store(tmp_path / "s", lambda store: store.write("a:1", Session("a:1")))
    finally:
        os.umask(before)
    for path in [tmp_path / "s", *(tmp_path / "s").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(0o755)
    with_store(tmp_path / "s", lambda store: store.write("a:1", Session("a:1")))
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o755
    assert stat.S_IMODE(tmp_path.joinpath("s", *place("a:1")).stat().st_mode) == 0o600


def _symlink(path: Path) -> None:
    target = path.parent.parent.parent / "outside"
    target.write_text("secret")
    path.symlink_to(target)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("make", [_symlink, _socket, os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_neither_followed_nor_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        path = path_of(store, "a:1")
        path.unlink()
        make(path)
        before = path.lstat()
        with pytest.raises(CorruptSessionError, match="plain file"):
            await asyncio.wait_for(store.read("a:1"), 5)
        for operation in (
            lambda: store.replace("a:1", Session("a:1"), expected=None),
            lambda: store.touch("a:1", None),
            lambda: store.write("a:1", Session("a:1")),
            lambda: store.destroy("a:1"),
            lambda: Sessions(store).destroy("a:1"),
        ):
            with pytest.raises(CorruptSessionError, match="plain file"):
                await operation()
        assert await scanned(store) == []
        assert await store.purge() == 0
        after = path.lstat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert await store.quarantine("a:1") is not None
        await store.write("a:1", Session("a:1", {"new": True}))
        found = await store.read("a:1")
        assert found is not None and found.state == {"new": True}

    with_store(tmp_path / "s", body)
    if make is _symlink:
        assert (tmp_path / "outside").read_text() == "secret"


@pytest.mark.parametrize("kind", ["empty", "random", "cut", "other id", "array"])
def test_an_unreadable_file_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    clock = ManualClock()

    async def body(store: FileSessionStore) -> None:
        session = Session("a:1", {"n": 1})
        await store.write("a:1", session)
        await store.write("a:2", Session("a:2"))
        path = path_of(store, "a:1")
        raw = {
            "empty": b"",
            "random": os.urandom(300),
            "cut": path.read_bytes()[:-5],
            "other id": path_of(store, "a:2").read_bytes(),
            "array": b"[]",
        }[kind]
        path.write_bytes(raw)
        with pytest.raises(CorruptSessionError) as caught:
            await store.read("a:1")
        assert (caught.value.session_id, caught.value.raw) == ("a:1", raw)
        for expected in (None, session.version):
            with pytest.raises(CorruptSessionError):
                await store.replace("a:1", Session("a:1"), expected=expected)
        with pytest.raises(CorruptSessionError):
            await store.touch("a:1", None)
        outcomes = await store.read_many(["a:1", "a:2"])
        assert isinstance(outcomes[0], CorruptSessionError) and isinstance(outcomes[1], Session)
        if kind != "cut":
            page = await store.scan()
            assert [info.id for info in page.sessions] == ["a:2"]
            assert [error.session_id for error in page.unreadable] == ["a:1"]
            assert path.name in str(page.unreadable[0])
            clock.advance(minutes=2)
            assert await store.purge() == 1
        assert path.read_bytes() == raw
        await store.destroy("a:1")
        assert await store.read("a:1") is None

    with_store(tmp_path / "s", body, expires_in=1, clock=clock)


def test_a_file_out_of_place_is_reported(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        path = path_of(store, "a:1")
        elsewhere = store.dirname / ("00" if path.parent.name != "00" else "01")
        elsewhere.mkdir()
        (elsewhere / path.name).write_bytes(path.read_bytes())
        (path.parent / "notes.txt").write_text("mine")
        (path.parent / f"{'x' * 64}~0.json").write_text("no session")
        page = await store.scan()
        assert [info.id for info in page.sessions] == ["a:1"]
        reasons = " ".join(map(str, page.unreadable))
        assert len(page.unreadable) == 2
        assert "elsewhere" in reasons
        assert "notes" not in reasons

    with_store(tmp_path / "s", body)


def test_purge_clears_what_killed_writers_left(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("a:1", Session("a:1"))
        shard = path_of(store, "a:1").parent
        (shard / ".0123456789abcdef.tmp").write_bytes(b'{"version":"half')
        others = [
            shard / name for name in (".notes.tmp", ".0123456789abcdef0.tmp", ".gitignore", "0123456789abcdef.tmp")
        ]
        for path in others:
            path.write_bytes(b"of another program")
        assert await scanned(store) == ["a:1"]
        assert await store.purge() == 0
        assert {path.name for path in shard.iterdir()} == {".lock", "a%3a1.json"} | {path.name for path in others}

    with_store(tmp_path / "s", body)


def test_a_relative_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileSessionStore()
    monkeypatch.chdir("/")
    assert store.dirname == tmp_path / ".sessions"
    assert repr(store) == f"FileSessionStore({str(tmp_path / '.sessions')!r})"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FileSessionStore("~/bot").dirname == tmp_path / "bot"


@pytest.mark.parametrize(
    ("source", "options", "dirname"),
    [
        ("file", {}, "{here}/.sessions"),
        ("file", {"dirname": "x"}, "{here}/x"),
        ("file", {"dirname": Path("x")}, "{here}/x"),
        ("file:///var/lib/my%20bot", {}, "/var/lib/my bot"),
        ("file://some/where", {"dirname": "x"}, "{here}/some/where"),
        ("file://", {"dirname": "x"}, "{here}/x"),
        ("file://a%3Fb", {}, "{here}/a?b"),
    ],
)
def test_name_and_url(
    source: str, options: dict[str, Any], dirname: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(source, expires_in=5, **options)
    assert isinstance(store, FileSessionStore)
    assert str(store.dirname) == dirname.format(here=tmp_path)
    assert store.lifetime.expires_in == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("file", {"dirname": ""}),
        ("file", {"dirname": 5}),
        ("file", {"dirname": "a\0b"}),
        ("file", {"dirnam": "x"}),
        ("file", {"dirname": "~nobody-of-this-name/x"}),
        ("file:///a?mode=rw", {}),
    ],
)
def test_wrong_options(source: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"dirname|directory"):
        open_store(source, **options)


def test_a_url_of_another_backend_makes_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="a URL of the driver 'file'") as refused:
        open_store({"driver": "file", "url": "redis://ada:hunter2@localhost:6379/0"})
    assert "hunter2" not in str(refused.value)


def test_it_says_so_on_windows() -> None:
    program = (
        "import sys, asyncio, botsession, aiofiles.os\n"
        "sys.platform = 'win32'\n"
        "try: botsession.open_store('file')\n"
        "except botsession.DriverLoadError as error: print(error)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "Windows" in output


def test_before_init_and_after_close(tmp_path: Path) -> None:
    async def body() -> None:
        store = FileSessionStore(tmp_path / "s")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.read("a"), lambda: store.write("a", Session("a")), lambda: store.destroy("a"),
            lambda: store.replace("a", Session("a"), expected=None), lambda: store.touch("a", None), store.scan,
            lambda: store.read_many([]), lambda: store.commit([]), lambda: store.commit([]), store.purge,
            store.ping,
        ]  # fmt: skip
        for _ in range(2):
            for call in calls:
                with pytest.raises(StoreError, match="not open") as caught:
                    await call()
                assert not isinstance(caught.value, StoreUnavailableError)
            await asyncio.gather(store.init(), store.init())
            await store.ping()
            await asyncio.gather(store.close(), store.close())

    asyncio.run(body())


def test_what_lies_in_a_file_can_be_read_by_people(tmp_path: Path) -> None:
    async def body(store: FileSessionStore) -> None:
        await store.write("telegram:42", Session("telegram:42", {"name": "Zoë"}))
        text = path_of(store, "telegram:42").read_text()
        assert text.startswith('{"version":"') and text.endswith('"state":{"name":"Zoë"}}\n')
        assert records.decode(text.encode(), "telegram:42", store="").state == {"name": "Zoë"}

    with_store(tmp_path / "s", body)
