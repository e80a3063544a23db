"""`botsession list`, `show` and `stats`."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

import pytest
from console import filled
from console.filled import DRIVER

from botsession import Session
from botsession_console.exits import FAILED, MISCONFIGURED, OUTPUT_CLOSED

HOUR = dt.timedelta(hours=1)
DEEP = Session("telegram:9", {"cart": [{"sku": "a"}, []], "odd key": {}, "note": "\x1b[2Jx\x9b"}, {"name": "Ann"})


@pytest.fixture
def some(folder):
    """Sessions last active a day ago, an hour ago (the largest, which never expires) and now."""
    filled.write(folder, Session("telegram:2", {"count": 2}), ago=24 * HOUR, expires_in=10_000)
    filled.write(folder, Session("telegram:1", {"text": "x" * 2000}, expires_in=None), ago=HOUR)
    filled.write(folder, Session("line:3"), expires_in=100)


def fails(done, code, part):
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("botsession: ")
    assert part in line
    assert done.returncode == code


def ids(done):
    return [line.split()[-1] for line in done.stdout.splitlines()[1:]]


def test_list(run, some):
    done = run("list", *DRIVER)
    rows = {line.split()[-1]: line.split()[:-1] for line in done.stdout.splitlines()}
    assert done.stdout.splitlines()[0] == "  AGE   IDLE  EXPIRES     SIZE  ID"
    assert rows["telegram:1"] == ["1h", "1h", "never", "2.1KB"]
    assert rows["telegram:2"][:3] == ["1d", "1d", "5d"]
    assert rows["line:3"][2] == "1h"
    assert (len(rows), done.returncode, done.stderr) == (4, 0, "")
    assert sorted(ids(run("list", "telegram:", *DRIVER))) == ["telegram:1", "telegram:2"]


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("id", ["line:3", "telegram:1", "telegram:2"]),
        ("activity", ["line:3", "telegram:1", "telegram:2"]),
        ("age", ["line:3", "telegram:1", "telegram:2"]),
        ("expiry", ["line:3", "telegram:2", "telegram:1"]),
        ("size", ["telegram:1", "telegram:2", "line:3"]),
    ],
)
def test_list_in_an_order(run, some, order, wanted):
    assert ids(run("list", *DRIVER, "--sort", order)) == wanted
    assert ids(run("list", *DRIVER, "--sort", order, "--reverse")) == wanted[::-1]
    assert ids(run("list", *DRIVER, "--sort", order, "--limit", "2")) == wanted[:2]
    assert ids(run("list", *DRIVER, "--sort", order, "--reverse", "--limit", "1")) == wanted[:-2:-1]


def test_list_page_by_page(run, folder):
    filled.fill(folder, 25)
    found, after = [], []
    for size in (10, 10, 5):
        done = run("list", *DRIVER, "--limit", "10", *after)
        assert len(ids(done)) == size
        found += ids(done)
        if size == 10:
            after = ["--after", done.stderr.split("--after ")[1].strip()]
    assert done.stderr == ""
    assert sorted(found) == sorted(f"telegram:{number}" for number in range(25))


def test_list_as_json(run, some):
    done = run("list", *DRIVER, "--json", "--sort", "id")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["id"] for each in objects] == ["line:3", "telegram:1", "telegram:2"]
    assert list(objects[1]) == ["id", "created_at", "last_activity", "expires_at", "version", "size"]
    assert objects[1]["expires_at"] is None
    assert objects[1]["size"] > 2000


def test_list_of_nothing(run):
    done = run("list", *DRIVER)
    assert (done.stdout, done.stderr, done.returncode) == ("", "botsession: no sessions\n", 0)
    done = run("list", "--json", *DRIVER)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_list_shows_what_is_unreadable(run, folder, some):
    filled.damage(folder, "telegram:2")
    for arguments in ([], ["--sort", "size", "--limit", "2"]):
        done = run("list", *DRIVER, *arguments)
        assert "  telegram:2 (unreadable)\n" in done.stdout
        assert "telegram:1" in done.stdout
        assert "1 unreadable" in done.stderr
        assert done.returncode == 0
    (unreadable,) = [line for line in run("list", *DRIVER, "--json").stdout.splitlines() if "unreadable" in line]
    assert json.loads(unreadable)["id"] == "telegram:2"
    assert "is unreadable: JSON is malformed" in json.loads(unreadable)["unreadable"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["list"], "no store is configured"),
        (["list", *DRIVER, "--limit", "0"], "a number above zero, not '0'"),
        (["list", *DRIVER, "--sort", "colour"], "'colour'"),
        (["list", *DRIVER, "--sort", "id", "--after", "x"], "cannot be combined with --sort"),
        (["list", *DRIVER, "--reverse"], "--sort"),
        (["show", *DRIVER, ""], "must not be empty"),
        (["show", *DRIVER, "x", "--raw", "--json"], "not allowed with"),
        (["stats", "--driver", "nosuch"], "'nosuch'"),
    ],
)
def test_a_wrong_command_line(run, arguments, part):
    fails(run(*arguments), MISCONFIGURED, part)


def test_a_cursor_of_another_store(run):
    fails(run("list", *DRIVER, "--after", "nonsense"), FAILED, "'nonsense' is no cursor")


def test_a_backend_that_does_not_answer(run):
    fails(run("list", "--url", "redis://:hunter2@127.0.0.1:1"), FAILED, "does not answer")
    assert "hunter2" not in run("list", "--url", "redis://:hunter2@127.0.0.1:1").stderr


def test_a_store_that_cannot_list(run, folder):
    (folder / "stores.py").write_text(
        "class Bare:\n"
        "    async def init(self): return self\n"
        "    async def read(self, session_id): return None\n"
        "    async def write(self, session_id, session): pass\n"
        "    async def destroy(self, session_id): pass\n"
    )
    for command in ("list", "stats"):
        fails(run(command, "--driver", "stores:Bare"), FAILED, "Bare cannot list its sessions: it lacks the capability")


def test_nobody_reads_the_list(folder, environment):
    filled.fill(folder, 3000)
    command = ["sh", "-c", f"{sys.executable} -m botsession_console list --driver file; echo $? >code"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environment)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    writer.wait(20)
    assert (folder / "code").read_text().strip() == str(OUTPUT_CLOSED)


def test_show(run, folder):
    filled.write(folder, DEEP)
    done = run("show", "telegram:9", *DRIVER)
    lines = done.stdout.splitlines()
    assert lines[0] == "telegram:9"
    assert lines[1].startswith("├── created: 20")
    assert lines[3].endswith(", in 9h")
    assert lines[5:] == [
        "├── user",
        '│   └── name: "Ann"',
        "└── state",
        "    ├── cart (2 items)",
        "    │   ├── [0]",
        '    │   │   └── sku: "a"',
        "    │   └── [1]: []",
        '    ├── "odd key": {}',
        '    └── note: "\\u001b[2Jx\\u009b"',
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_show_as_json(run, folder):
    filled.write(folder, DEEP)
    shown = json.loads(run("show", "telegram:9", *DRIVER, "--json").stdout)
    assert list(shown) == ["id", "version", "expires_at", "last_activity", "created_at", "user", "state"]
    assert (shown["state"], shown["user"]) == (DEEP.state, DEEP.user)
    raw = run("show", "telegram:9", *DRIVER, "--raw").stdout
    assert raw.startswith('{"version":"')
    assert json.loads(raw) == shown


def test_show_what_chose_its_own_lifetime(run, folder):
    filled.write(folder, Session("a", expires_in=None), Session("b", expires_in=90))
    assert "expires: never" in run("show", "a", *DRIVER).stdout
    assert "expires in: 1h after its last activity (set by the session)" in run("show", "b", *DRIVER).stdout
    assert json.loads(run("show", "b", *DRIVER, "--json").stdout)["expires_in"] == 90


def test_show_what_is_not_there(run):
    fails(run("show", "telegram:1", *DRIVER), FAILED, "there is no session 'telegram:1'")


def test_show_what_is_unreadable(run, folder, some):
    filled.damage(folder, "telegram:2")
    fails(run("show", "telegram:2", *DRIVER), FAILED, "is unreadable")
    done = run("show", "telegram:2", *DRIVER, "--raw")
    assert (done.stdout, done.returncode) == ("{broken", FAILED)
    done = run("show", "telegram:2", *DRIVER, "--json")
    assert json.loads(done.stdout)["raw"] == "{broken"
    assert done.returncode == FAILED


def test_what_is_unreadable_comes_byte_for_byte(run, folder, some):
    content = b"\x7e\x00\xff\xfe{\r\n"
    filled.damage(folder, "telegram:2", content)
    shell = ("sh", "-c", '"$0" -m botsession_console "$@" > raw', sys.executable)
    assert run("show", "telegram:2", *DRIVER, "--raw", command=shell).returncode == FAILED
    assert (folder / "raw").read_bytes() == content


def test_stats(run, folder, some):
    filled.write(folder, Session("telegram:4"))
    filled.damage(folder, "telegram:4")
    done = run("stats", *DRIVER)
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [["sessions", "3"], ["unreadable", "1"]]
    assert "telegram:1, 2.1KB" in done.stdout
    rows = [line.rsplit(maxsplit=2) for line in done.stdout.splitlines()]
    for label in ("within a day", "within a week", "never", "up to 4.0KB"):
        assert [label, "1", "█" * 15 if label.startswith("up") else "█" * 30] in rows
    counts = json.loads(run("stats", "telegram:", *DRIVER, "--json").stdout)
    assert (counts["sessions"], counts["unreadable"], counts["largest"]["id"]) == (2, 1, "telegram:1")
    assert counts["ending"] == {"hour": 0, "day": 0, "week": 1, "later": 0, "never": 1}
    assert sum(counts["active"].values()) == 2
    assert counts["sizes"][0] == {"up_to": 256, "sessions": 1}
    assert counts["sizes"][-1] == {"up_to": None, "sessions": 0}


def test_stats_of_nothing_and_of_days_long_ago(run, folder):
    assert run("stats", *DRIVER).stdout == "sessions    0\nunreadable  0\n"
    filled.write(folder, Session("a"), ago=40 * 24 * HOUR, expires_in=None)
    filled.write(folder, Session("b"))
    lines = run("stats", *DRIVER, PYTHONIOENCODING="ascii").stdout.splitlines()
    assert lines[-1].split() == ["earlier", "1", "#" * 30]
    assert len(lines[lines.index("last active") :]) == 1 + 14 + 1
