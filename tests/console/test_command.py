"""The command line: the choice of bot and backend, and error messages."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import pathlib
import re
import sys

import pytest

import servers
from botsession.protocol import CAPABILITIES
from botsession_console.command import COMMANDS
from botsession_console.exits import FAILED, MISCONFIGURED


def fails(done, code, *parts):
    """Check that the command fails with a one-line message."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("botsession: ")
    for part in parts:
        assert part in line
    assert done.returncode == code


def test_help(run):
    assert "console" in run("--help").stdout
    done = run("console", "--help")
    assert done.returncode == 0
    for word in ("module:bot", "--driver", "--url", "--expires-in", "--config", "/payload X", "Ctrl-C"):
        assert word in done.stdout


def test_version(run):
    done = run("--version")
    assert done.returncode == 0
    assert f"botsession-console {importlib.metadata.version('botsession-console')}, botsession-core " in done.stdout


def test_the_script_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="botsession")
    assert script.value == "botsession_console.command:main"


def test_a_handler_will_do_for_a_bot(run):
    done = run("console", "mybot:handler", "--platform", "desk", "--user", "42", lines="hi\n")
    assert done.stdout == "Bot > desk:42 heard hi\n"


def test_options_go_before_the_choice_of_the_bot(run, folder):
    assert run("console", "mybot:bot", "--driver", "file", lines="hi\n").stdout == "Bot > hi 1\n"
    assert run("console", "mybot:bot", "--url", "file:.sessions", lines="hi\n").returncode == MISCONFIGURED
    assert run("console", "mybot:bot", "--driver", "file", lines="hi\n").stdout == "Bot > hi 2\n"
    assert run("console", "mybot:bot", lines="hi\n", BOTSESSION_DRIVER="file").stdout == "Bot > hi 1\n"


def test_without_options_the_configuration_decides(run, folder):
    (folder / "botsession.toml").write_text('driver = "file"\n[stores.file]\ndirname = "kept"\n')
    run("console", "mybot:handler", lines="hi\n")
    run("console", lines="hi\n")
    assert (folder / "kept").is_dir()
    assert "message 2." in run("console", lines="hi\n").stdout


def test_the_environment_goes_before_the_file_and_options_before_both(run, folder):
    (folder / "other.toml").write_text('driver = "nosuch"\nexpires_in = 10\n')
    config = ("console", "--config", "other.toml")
    fails(run(*config, lines="hi\n"), MISCONFIGURED, "'nosuch'")
    assert run(*config, lines="hi\n", BOTSESSION_DRIVER="memory").returncode == 0
    fails(run(*config, lines="hi\n", BOTSESSION_DRIVER="nosuch2"), MISCONFIGURED, "'nosuch2'")
    assert run(*config, "--driver", "memory", lines="hi\n", BOTSESSION_DRIVER="nosuch2").returncode == 0


@pytest.mark.parametrize(("given", "minutes"), [("10", 10), ("0.5", 0.5), ("never", None)])
def test_expires_in(run, given, minutes):
    done = run("console", "mybot:bot", "--expires-in", given, lines="hi\n/session\n")
    session = json.loads(done.stdout.splitlines()[1])
    if minutes is None:
        assert session["expires_at"] is None
    else:
        start, end = (dt.datetime.fromisoformat(session[key]) for key in ("last_activity", "expires_at"))
        assert end - start == dt.timedelta(minutes=minutes)


def test_expires_in_for_a_class_that_does_not_expire_itself(run, folder):
    (folder / "stores.py").write_text(
        "class Bare:\n"
        "    def __init__(self): self.kept = {}\n"
        "    async def init(self): return self\n"
        "    async def read(self, session_id): return self.kept.get(session_id)\n"
        "    async def write(self, session_id, session): self.kept[session_id] = session\n"
        "    async def destroy(self, session_id): self.kept.pop(session_id, None)\n"
    )
    done = run("console", "mybot:bot", "--driver", "stores:Bare", "--expires-in", "never", lines="hi\n/session\n")
    assert json.loads(done.stdout.splitlines()[1])["expires_at"] is None


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--driver", "nosuch"], ["no driver 'nosuch' is installed", "Installed drivers: ", "memory"]),
        (["--driver", "memori"], ["did you mean 'memory'?"]),
        (["--driver", ""], ["--driver: driver is empty"]),
        (["--url", ""], ["--url: url is empty"]),
        (["--config", "missing.toml"], ["configuration file missing.toml does not exist"]),
        (["--expires-in", "soon"], ["--expires-in", "'soon'", "never"]),
        (["--expires-in", "0"], ["--expires-in", "'0'"]),
        (["--url", "nocolon"], ["--url", "starts with a driver's name"]),
        (["--user", "a\nb"], ["control character"]),
        (["nomodule:bot"], ["no module 'nomodule'"]),
        (["mybot.py:bot"], ["no module", "without .py"]),
        (["./mybot.py:bot"], ["module:bot", "not the path of a file"]),
        (["mybot:nothing"], ["no bot 'mybot:nothing'"]),
        (["mybot:number"], ["'mybot:number' must be a ConsoleBot or a handler function, not a value of type int"]),
        (["mybot:takes_nothing"], ["takes one argument"]),
        (["mybot:ConsoleBot"], ["must be a ConsoleBot or a handler function, not the class ConsoleBot"]),
        (["mybot"], ["module:bot", "'mybot'"]),
        (["redis://:hunter2@localhost"], ["--url"]),
        (["mybot:bot", "redis://:hunter2@localhost"], ["unrecognized arguments"]),
        (["--nosuch"], ["unrecognized arguments: --nosuch", "botsession --help"]),
    ],
)
def test_a_wrong_command_line(run, arguments, parts):
    done = run("console", *arguments, lines="hi\n")
    fails(done, MISCONFIGURED, *parts)
    assert "hunter2" not in done.stderr


def test_the_readme_names_every_command():
    readme = (pathlib.Path(__file__).parents[2] / "plugins/tools/console/README.md").read_text(encoding="utf-8")
    table = "".join(line for line in readme.splitlines() if line.startswith("|"))
    assert [name for name in COMMANDS if not re.search(rf"`(botsession )?{name}\b", table)] == []


def test_no_command(run):
    fails(run(), MISCONFIGURED, "COMMAND")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("drvier = 'memory'", ["drvier", "did you mean 'driver'?"]),
        ("[stores.memory]\nmax_sise = 5", ["max_sise", "did you mean 'max_size'?"]),
        ("[stores.memory]\nmax_size = 'many'", ["max_size", "expected int, got str"]),
        ("expires_in = 'soon'", ["expires_in"]),
        ("driver =", ["botsession.toml", "not valid TOML"]),
    ],
)
def test_a_wrong_configuration(run, folder, text, parts):
    (folder / "botsession.toml").write_text(text)
    fails(run("console", lines="hi\n"), MISCONFIGURED, *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("import nosuchmodule", ["'badbot'", "needs the module 'nosuchmodule'"]),
        ("\n1 / 0", ["'badbot' cannot be imported: ZeroDivisionError: division by zero", "badbot.py, line 2)"]),
        ("def (", ["'badbot' cannot be imported: SyntaxError", "line 1"]),
        ("from botsession_console import ConsoleBot\nbot = ConsoleBot()", ["has no handler"]),
        ("from botsession_console import ConsoleBot\nbot = ConsoleBot(user='\\n')", ["control character"]),
    ],
)
def test_a_bot_that_does_not_load(run, folder, text, parts):
    (folder / "badbot.py").write_text(text)
    fails(run("console", "badbot:bot", lines="hi\n"), MISCONFIGURED, *parts)


READY_MADE = """
from botsession import Sessions
from botsession_console import ConsoleBot
from botsession_memory import MemorySessionStore

def answer(context):
    context.set_state({"heard": True})

with_store = ConsoleBot(MemorySessionStore())
with_store.on_event(answer)
with_sessions = ConsoleBot(Sessions("memory"))
with_sessions.on_event(answer)
with_mapping = ConsoleBot({"driver": "memory"})
with_mapping.on_event(answer)
"""


def test_a_bot_with_a_ready_made_store(run, folder):
    (folder / "ready.py").write_text(READY_MADE)
    assert run("console", "ready:with_store", lines="hi\n").returncode == 0
    assert run("console", "ready:with_store", "--driver", "file", lines="hi\n").returncode == 0
    assert (folder / ".sessions").is_dir()
    (folder / "other.toml").write_text("")
    for option in (("--expires-in", "5"), ("--config", "other.toml")):
        fails(run("console", "ready:with_store", *option), MISCONFIGURED, option[0], "MemorySessionStore")
    fails(run("console", "ready:with_mapping", "--config", "other.toml"), MISCONFIGURED, "--config", "mapping")
    assert run("console", "ready:with_sessions", lines="hi\n").returncode == 0
    fails(run("console", "ready:with_sessions", "--driver", "file"), MISCONFIGURED, "--driver", "Sessions")


def test_a_folder_that_cannot_be_written(run, folder):
    (folder / "plain").write_text("")
    (folder / "botsession.toml").write_text('driver = "file"\n[stores.file]\ndirname = "plain/sessions"\n')
    done = run("console", lines="hi\n")
    fails(done, MISCONFIGURED, "plain")


def test_a_backend_that_does_not_answer(run):
    url = f"redis://:hunter2@127.0.0.1:{servers.free_port()}"
    done = run("console", "--url", url, lines="hi\n")
    fails(done, FAILED, "127.0.0.1")
    assert "hunter2" not in done.stderr


def test_a_store_that_fails_on_the_way_ends_it(run, folder):
    (folder / "stores.py").write_text(
        "from botsession import StoreUnavailableError\n"
        "from botsession_memory import MemorySessionStore\n"
        "class Failing(MemorySessionStore):\n"
        "    in_process = False\n"
        "    async def lease_many(self, claims): raise StoreUnavailableError('the shelf does not answer')\n"
    )
    done = run("console", "mybot:bot", "--driver", "stores:Failing", lines="a\nb\n")
    fails(done, FAILED, "the shelf does not answer")


def test_a_store_of_a_stranger_that_breaks(run, folder):
    (folder / "stores.py").write_text(
        "from botsession_memory import MemorySessionStore\n"
        "class Broken(MemorySessionStore):\n"
        "    async def init(self): raise LookupError('nothing there')\n"
    )
    done = run("console", "mybot:bot", "--driver", "stores:Broken", lines="a\nb\n")
    fails(done, FAILED, "LookupError: nothing there")


def test_drivers(run):
    done = run("drivers")
    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["DRIVER", "PACKAGE", "VERSION", "CAPABILITIES"]
    (row,) = [row for row in rows if row.startswith("memory")]
    assert row.split(maxsplit=3)[1:] == [
        "botsession-memory",
        importlib.metadata.version("botsession-memory"),
        ", ".join(CAPABILITIES),
    ]


def test_a_broken_driver_does_not_hide_the_others(run, folder):
    def install(package, entries):
        info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[botsession.drivers]\n{entries}\n")

    install("acme-broken", "brk = acme_broken")
    install("acme-rude", "rude = acme_rude")
    install("acme-sql", "sql = acme_sql\nsqlite = acme_sql")
    install("acme-memory", "memory = acme_sql")
    (folder / "acme_broken.py").write_text("import nosuchmodule")
    hook = "from botsession import hookimpl, construct\n@hookimpl\ndef open_store(options, clock):\n    "
    (folder / "acme_rude.py").write_text(hook + "raise RuntimeError('not today')")
    (folder / "acme_sql.py").write_text(
        hook + "return construct(Store, options)\nclass Store:\n def __init__(self, dsn: str): ..."
    )
    done = run("drivers", PYTHONPATH=str(folder))
    assert done.stderr == ""
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "acme-broken" in rows["brk"]
    assert "1.2" in rows["brk"]
    assert "BROKEN" in rows["brk"]
    assert "'nosuchmodule'" in rows["brk"]
    assert "BROKEN: RuntimeError: not today" in rows["rude"]
    assert "unknown without options: Store needs the option 'dsn'" in rows["sql, sqlite"]
    assert "BROKEN" in rows["memory"]
    assert "acme-memory" in rows["memory"]
    assert "expiry, close" in rows["file"]
    assert done.returncode == FAILED


def test_a_store_of_the_working_directory_is_found_by_the_installed_command(run, folder):
    (folder / "stores.py").write_text("from botsession_memory import MemorySessionStore as MyStore\n")
    script = pathlib.Path(sys.executable).with_name("botsession")
    done = run("list", "--driver", "stores:MyStore", command=(str(script),))
    assert (done.returncode, done.stderr) == (0, "botsession: no sessions\n")
