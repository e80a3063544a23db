"""`botsession edit`, `delete`, `purge` and `watch`."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from console import filled
from console.filled import DRIVER

import servers
from botsession import Session
from botsession_console.exits import FAILED, INTERRUPTED, MISCONFIGURED

ADA = Session("telegram:1", {"count": 1, "share": 1.0, "name": "Ada"}, {"name": "Ada"})
KEPT = re.compile(r"Your edit is kept in (\S+)")


@pytest.fixture
def ada(folder):
    filled.write(folder, ADA)
    return filled.read(folder, ADA.id)


@pytest.fixture
def edit(run, folder):
    """Run `botsession edit` with an editor that executes a Python function body on the text."""

    def edit(body, *arguments, session_id=ADA.id, **variables):
        (folder / "editor.py").write_text(
            "import pathlib, sys\n"
            f"sys.path[:0] = {sys.path!r}\n"
            "file = pathlib.Path(sys.argv[-1])\n"
            "text = file.read_text()\n"
            f"{body}\n"
            "file.write_text(text)\n"
        )
        environment = {"EDITOR": f"{sys.executable} editor.py", "TMPDIR": str(folder), **variables}
        return run("edit", session_id, *DRIVER, *arguments, **environment)

    return edit


def drafts(folder):
    return list(folder.glob("botsession-*.json"))


def kept(done):
    """Return the text of the file in which the command kept an edit that it could not save."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    file = pathlib.Path(KEPT.search(line)[1])
    assert file.stat().st_mode & 0o777 == 0o600
    return file.read_text()


def test_edit(edit, folder, ada):
    done = edit('text = text.replace("1.0", "2.0").replace(\'"count": 1,\', "").replace("Ada", "Åsa")')
    assert (done.stdout, done.stderr, done.returncode) == ("saved telegram:1\n", "", 0)
    after = filled.read(folder, ADA.id)
    assert repr(after.state) == repr({"share": 2.0, "name": "Åsa"})
    assert after.user == {"name": "Åsa"}
    assert (after.expires_at, after.last_activity) == (ada.expires_at, ada.last_activity + dt.timedelta(milliseconds=1))
    assert after.version != ada.version
    assert drafts(folder) == []


def test_the_editor_is_given_a_private_file_with_readable_json(edit, folder, ada):
    edit('print(text, oct(file.stat().st_mode & 0o777), file=open("seen", "w"))')
    assert (folder / "seen").read_text() == (
        '{\n  "state": {\n    "count": 1,\n    "share": 1.0,\n    "name": "Ada"\n  },\n'
        '  "user": {\n    "name": "Ada"\n  }\n}\n 0o600\n'
    )


@pytest.mark.parametrize("body", ["pass", "import json; text = json.dumps(json.loads(text))"])
def test_what_is_the_same_is_not_written(edit, folder, ada, body):
    done = edit(body)
    assert (done.stdout, done.returncode) == ("nothing has changed\n", 0)
    assert filled.read(folder, ADA.id) == ada
    assert drafts(folder) == []


def test_the_order_of_keys_is_a_change(edit, folder, ada):
    edit(
        "import json; given = json.loads(text); given['state'] = dict(reversed(given['state'].items()));"
        "text = json.dumps(given)"
    )
    assert list(filled.read(folder, ADA.id).state) == ["name", "share", "count"]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("text = ''", "Expecting value: line 1 column 1"),
        ("text = text.replace(',', ';')", "line 3 column 15"),
        ("text = '[]'", 'one object with "state" and "user"'),
        ("text = '{\"state\": {}}'", 'one object with "state" and "user"'),
        ('text = \'{"state": [], "user": null}\'', '"state" must be an object'),
        ('text = \'{"state": {}, "user": 1}\'', '"user" an object or null'),
        ("text = text.replace('1.0', 'NaN')", "NaN is not a JSON number"),
        ("text = text.replace('1.0', '1e999')", "$.state.share: the number inf"),
        ("text = text.replace('1.0', '9' * 30)", "does not fit into 64 bits"),
        ("text = text.replace('share', 'count')", "the key 'count' occurs twice"),
        ("text = text.replace('1.0', '[' * 100_000)", "nested too deeply"),
        ("text = text.replace('Ada', '\\\\ud800')", "lone surrogate"),
        ("file.write_bytes(b'\\xff'); sys.exit()", "utf-8"),
        ("file.write_text(text + ' '); sys.exit(3)", "exited with code 3, so nothing was saved"),
    ],
)
def test_what_cannot_be_saved_is_kept(edit, folder, ada, body, part):
    done = edit(body)
    assert part in done.stderr
    assert done.returncode == FAILED
    assert KEPT.search(done.stderr)
    assert len(drafts(folder)) == 1
    assert filled.read(folder, ADA.id) == ada


def test_an_edit_of_what_has_changed_meanwhile_is_refused_and_kept(edit, folder, ada):
    done = edit(
        "import asyncio\n"
        "from botsession import Sessions\n"
        "async def turn():\n"
        "    async with Sessions('file') as sessions, sessions.turn('telegram:1') as session:\n"
        "        session.state['count'] = 77\n"
        "asyncio.run(turn())\n"
        "text = text.replace('Ada', 'Eve')"
    )
    assert done.returncode == FAILED
    assert "was written or destroyed by another writer since it was read. Your edit is kept in" in done.stderr
    assert "Eve" in kept(done)
    assert filled.read(folder, ADA.id).state == {"count": 77, "share": 1.0, "name": "Ada"}


def test_an_edit_is_kept_where_the_backend_is_gone(edit, folder, ada):
    done = edit(
        "import shutil; shutil.rmtree('.sessions'); open('.sessions', 'w').close(); text = text.replace('1', '2')"
    )
    assert done.returncode == MISCONFIGURED
    assert '"count": 2' in kept(done)


def test_there_is_nothing_to_edit(edit, folder, ada):
    done = edit("pass", session_id="nobody")
    assert (done.stderr, done.returncode) == ("botsession: there is no session 'nobody'\n", FAILED)
    filled.damage(folder, ADA.id)
    done = edit("pass")
    assert "is unreadable" in done.stderr
    assert done.returncode == FAILED
    assert drafts(folder) == []


def test_there_is_no_such_editor(edit, folder, ada):
    for editor in ("/nonexistent/ed", "'"):
        done = edit("pass", VISUAL=editor)
        assert f"cannot start the editor {editor!r}" in done.stderr or repr(editor) in done.stderr
        assert "Set VISUAL or EDITOR" in done.stderr
        assert done.returncode == MISCONFIGURED
        assert drafts(folder) == []


def test_delete(run, folder):
    filled.fill(folder, 3)
    filled.damage(folder, "telegram:1")
    done = run("delete", *DRIVER, "telegram:0", "telegram:1", "telegram:0", "telegram:7", "--yes")
    assert done.stdout == "2 sessions: telegram:0, telegram:1\ndeleted 2 sessions\n"
    assert done.stderr == "botsession: there is no session 'telegram:7'\n"
    assert done.returncode == 0
    assert [path.name for path in folder.glob(".sessions/??/*.json")] == ["telegram%3a2.json"]


def test_delete_by_prefix(run, folder):
    filled.fill(folder, 120)
    filled.damage(folder, "telegram:11")
    done = run("delete", *DRIVER, "--prefix", "telegram:1", "--yes")
    assert re.fullmatch(
        r"31 sessions: (telegram:1\d*, ){4}telegram:1\d* and 26 more\ndeleted 31 sessions\n", done.stdout
    )
    assert len(list(folder.glob(".sessions/??/*.json"))) == 89
    done = run("delete", *DRIVER, "--prefix", "telegram:1", "--yes")
    assert (done.stdout, done.returncode) == ("nothing to delete\n", 0)


def test_what_tells_no_id_is_not_deleted(run, folder):
    filled.fill(folder, 1)
    (folder / ".sessions" / "00").mkdir(exist_ok=True)
    stray = folder / ".sessions" / "00" / ("=" + "0" * 64 + ".json")
    stray.write_text("{}")
    done = run("delete", *DRIVER, "--prefix", "t", "--yes")
    assert "deleted 1 session\n" in done.stdout
    assert stray.exists()


def test_without_a_terminal_nothing_is_deleted_unasked(run, folder):
    filled.fill(folder, 3)
    done = run("delete", *DRIVER, "--prefix", "telegram", lines="y\n")
    assert done.stdout.startswith("3 sessions: ")
    assert "Add --yes" in done.stderr
    assert done.returncode == MISCONFIGURED
    assert len(list(folder.glob(".sessions/??/*.json"))) == 3


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "either session ids or --prefix"),
        (["x", "--prefix", "y"], "either session ids or --prefix"),
        (["--prefix", ""], "an empty prefix would delete every session"),
        (["x", ""], "must not be empty"),
    ],
)
def test_a_wrong_command_line(run, arguments, part):
    done = run("delete", *DRIVER, "--yes", *arguments)
    assert done.stdout == ""
    assert part in done.stderr
    assert done.returncode == MISCONFIGURED


def test_purge(run, folder):
    filled.write(folder, Session("old"), ago=dt.timedelta(hours=1), expires_in=1)
    filled.write(folder, Session("new"))
    assert run("purge", *DRIVER).stdout == "removed 1 expired session\n"
    assert run("purge", *DRIVER).stdout == "removed 0 expired sessions\n"
    assert [path.name for path in folder.glob(".sessions/??/*.json")] == ["new.json"]


def test_purge_where_the_backend_does_it(run):
    done = run("purge", "--url", servers.redis_url())
    assert done.stdout == "nothing to do: the backend of RedisSessionStore removes expired sessions itself\n"
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_mirror_is_not_purged(run, folder):
    (folder / "mirror.toml").write_text('driver = "mirror"\n[stores.mirror]\nold = "file://old"\nnew = "file://new"\n')
    done = run("purge", "--config", "mirror.toml")
    assert (done.stdout, done.returncode) == ("", FAILED)
    assert "Purge each of its stores by itself" in done.stderr


def test_watch(folder, environment):
    command = [sys.executable, "-m", "botsession_console", "watch", "telegram:1", *DRIVER, "--interval", "0.02"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environment)

    def lines(count):
        return [watcher.stdout.readline().decode()[len("12:34:56 ") if not number else 0 :] for number in range(count)]

    assert lines(1) == ["telegram:1 is absent\n"]
    session = Session(ADA.id, dict(ADA.state))
    filled.write(folder, session)
    assert lines(3) == [
        "telegram:1 was created\n",
        "  + $.user: null\n",
        '  + $.state: {"count": 1, "share": 1.0, "name": "Ada"}\n',
    ]
    filled.change(folder, ADA.id, lambda state: state.update(count=2, cart=[1]) or state.pop("name"))
    assert lines(4) == [
        "telegram:1 has changed\n",
        "  ~ $.state.count: 1 -> 2\n",
        '  - $.state.name: "Ada"\n',
        "  + $.state.cart: [1]\n",
    ]
    filled.damage(folder, ADA.id)
    assert "is unreadable" in lines(1)[0]
    filled.destroy(folder, ADA.id)
    assert lines(1) == ["telegram:1 is gone\n"]
    watcher.send_signal(signal.SIGINT)
    assert watcher.communicate() == (b"", b"")
    assert watcher.returncode == INTERRUPTED


def test_watch_as_json(folder, environment, ada):
    command = [sys.executable, "-m", "botsession_console", "watch", ADA.id, *DRIVER, "--json", "--interval", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environment) as watcher:
        first = json.loads(watcher.stdout.readline())
        assert list(first) == ["seen_at", "id", "session"]
        assert first["session"]["state"] == ADA.state
        filled.destroy(folder, ADA.id)
        assert json.loads(watcher.stdout.readline())["session"] is None
        watcher.send_signal(signal.SIGINT)


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon"])
def test_watch_at_no_interval(run, interval):
    done = run("watch", "x", *DRIVER, f"--interval={interval}")
    assert f"a number of seconds above zero, not {interval!r}" in done.stderr
    assert done.returncode == MISCONFIGURED
