"""`botsession doctor`, from the command line to the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from redis import Redis

import servers
from botsession import Session
from botsession_console.exits import INTERRUPTED
from botsession_file import FileSessionStore

WARNINGS = 1
ERRORS = 2


@pytest.fixture(scope="module")
def redis():
    """A Redis server configured to lose nothing."""
    with servers.redis_server("--appendonly", "yes") as url, Redis.from_url(url) as client:
        yield url, client


def table(done):
    """Return the findings shown, each as a list of mark, topic and text."""
    found = []
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(.) (.{13}) {2}(.*)", line):
            if match[1] == " ":
                found[-1][2] += f" {match[3]}"
            else:
                found.append([match[1], match[2].strip(), match[3]])
    return found


def of(done, topic):
    return [(mark, text) for mark, each, text in table(done) if each == topic]


def test_all_is_well(run, redis):
    url, client = redis
    done = run("doctor", "--url", url, "--expires-in", "60")
    assert (done.returncode, done.stderr) == (0, "")
    assert {mark for mark, _, _ in table(done)} == {"\u2713"}
    topics = [topic for _, topic, _ in table(done)]
    assert topics[:2] == ["configuration"] * 2
    assert topics[2:] == [
        *["package", "driver", "backend", "access", "sessions", "clock", "version", "replication", "eviction"],
        "persistence",
    ]
    assert of(done, "configuration") == [
        ("\u2713", f'url = "{url}" (--url)'),
        ("\u2713", "expires_in = 60 minutes (--expires-in)"),
    ]
    assert done.stdout.endswith("\nall is well\n")
    assert client.keys() == []


def test_memory_is_a_warning(run):
    done = run("doctor")
    assert done.returncode == WARNINGS
    ((mark, text),) = of(done, "durability")
    assert mark == "!"
    assert "\u2192 choose a driver that keeps them" in text
    assert done.stdout.endswith("\n1 warning\n")


def test_where_each_setting_came_from_and_no_secret(run, folder):
    (folder / "botsession.toml").write_text(
        '[stores.redis]\nkey_prefix = "shop:"\npassword = "hunter2"\nhost = "127.0.0.1"\n'
    )
    url = f"redis://bot:hunter2@127.0.0.1:{servers.free_port()}/0"
    done = run("doctor", "--expires-in", "never", BOTSESSION_URL=url)
    assert "hunter2" not in done.stdout + done.stderr
    lines = [text for _, text in of(done, "configuration")]
    assert lines[0].endswith("(BOTSESSION_URL)")
    assert "redis://***@127.0.0.1" in lines[0]
    assert lines[1:3] == [
        "expires_in = never (--expires-in)",
        f'key_prefix = "shop:" ({folder}/botsession.toml [stores.redis])',
    ]
    assert lines[3] == f"password = *** ({folder}/botsession.toml [stores.redis])"


def test_a_server_that_does_not_answer(run):
    done = run("doctor", "--url", f"redis://:hunter2@127.0.0.1:{servers.free_port()}")
    assert (done.returncode, done.stderr) == (ERRORS, "")
    assert "hunter2" not in done.stdout
    ((mark, text),) = of(done, "backend")
    assert mark == "\u2717"
    assert "\u2192 Check that it is running" in text
    assert of(done, "access") == []
    assert done.stdout.endswith("\n1 error\n")


def test_a_server_that_hangs(run, folder):
    with servers.redis_server() as url, Redis.from_url(url) as client:
        pid = client.info("server")["process_id"]
        (folder / "botsession.toml").write_text(f'url = "{url}"\n[stores.redis]\ntimeout = 0.5\n')
        os.kill(pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            done = run("doctor")
            assert time.monotonic() - begin < 5
        finally:
            os.kill(pid, signal.SIGCONT)
    assert done.returncode == ERRORS
    assert "did not answer within 0.5 s" in of(done, "backend")[0][1]


def test_a_password_that_is_wrong(run):
    with servers.redis_server("--requirepass", "hunter2") as url:
        for wrong in (url, url.replace("//", "//:hunter3@")):
            done = run("doctor", "--url", wrong)
            assert done.returncode == ERRORS
            assert "\u2192 Check username and password" in of(done, "backend")[0][1]
            assert "hunter3" not in done.stdout
        assert of(run("doctor", "--url", url.replace("//", "//:hunter2@")), "access")[0][0] == "\u2713"


def test_a_redis_that_evicts_and_forgets(run):
    with servers.redis_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as url:
        done = run("doctor", "--url", url)
    assert done.returncode == WARNINGS
    warned = {topic for mark, topic, _ in table(done) if mark == "!"}
    assert warned == {"eviction", "lifetime", "persistence"}
    assert done.stdout.endswith("\n3 warnings\n")


def test_a_redis_user_who_may_only_read(run, redis):
    url, client = redis
    client.execute_command("ACL", "SETUSER", "reader", "on", ">hunter2", "~*", "+@read", "+ping", "+info", "+time")
    done = run("doctor", "--url", url.replace("//", "//reader:hunter2@"))
    ((mark, text),) = of(done, "access")
    assert (done.returncode, mark) == (ERRORS, "\u2717")
    assert "\u2192 Give the ACL user the commands" in text
    assert client.keys() == []


def test_mongo(run):
    done = run("doctor", "--url", f"{servers.mongo_url()}/?w=1")
    assert done.returncode == WARNINGS
    assert [topic for mark, topic, _ in table(done) if mark == "!"] == ["write concern"]
    assert of(done, "expiry") == [("\u2713", "a TTL index removes expired sessions")]


def test_files(run, folder):
    async def main():
        store = await FileSessionStore(folder / ".sessions").init()
        for number in range(3):
            await store.write(f"a:{number}", Session(f"a:{number}"))
        await store.close()

    asyncio.run(main())
    (folder / ".sessions").chmod(0o777)
    next((folder / ".sessions").glob("*/*.json")).write_text("{")
    done = run("doctor", "--driver", "file")
    assert of(done, "permissions")[0][0] == "!"
    ((mark, text),) = of(done, "sessions")
    assert mark == "!"
    assert text.startswith("2 sessions; 1 unreadable: 'a:")
    assert len(list((folder / ".sessions").glob("*/*.json"))) == 3


def test_a_configuration_that_is_wrong_does_not_end_it(run, folder):
    (folder / "botsession.toml").write_text('drvier = "redis"\n')
    done = run("doctor", "--driver", "file")
    assert (done.returncode, done.stderr) == (ERRORS, "")
    assert done.stdout.startswith("\u2717 configuration  ")
    assert "did you mean 'driver'?" in done.stdout
    assert of(done, "access")[0][0] == "\u2713"
    broken = run("doctor", "--config", "missing.toml")
    assert "the configuration file missing.toml does not exist" in broken.stdout
    assert of(broken, "durability")
    assert run("doctor", "--expires-in", "soon").returncode == ERRORS


def test_drivers_that_are_missing_or_broken(run, folder):
    done = run("doctor", "--driver", "redsi")
    assert done.returncode == ERRORS
    assert "did you mean 'redis'?" in of(done, "driver")[0][1]
    info = folder / "acme_broken-1.2.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.2\nRequires-Dist: botsession-core>=7\n"
    )
    info.joinpath("entry_points.txt").write_text("[botsession.drivers]\nbrk = acme_broken\n")
    (folder / "acme_broken.py").write_text("import nosuchmodule")
    done = run("doctor", "--driver", "brk", PYTHONPATH=str(folder))
    assert done.returncode == ERRORS
    assert [mark for mark, _ in of(done, "package")] == ["\u2713", "\u2717"]
    assert "\u2192 pip install --upgrade acme-broken" in of(done, "package")[1][1]
    ((mark, text),) = of(done, "driver")
    assert mark == "\u2717"
    assert "'nosuchmodule'" in text


def test_json(run):
    done = run("doctor", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == WARNINGS
    assert all(list(finding) == ["level", "topic", "message", "remedy"] for finding in found)
    assert [finding["level"] for finding in found if finding["topic"] == "durability"] == ["warning"]


def test_an_output_without_the_marks(run):
    done = run("doctor", PYTHONIOENCODING="ascii")
    assert "+ configuration  driver" in done.stdout
    assert "                 > choose a driver" in done.stdout
    assert run("doctor", "--help", PYTHONIOENCODING="ascii").returncode == 0


def test_a_pipe_has_no_escape_codes_and_nobody_need_read_it(run):
    assert "\x1b" not in run("doctor", FORCE_COLOR="1").stdout
    done = run(command=("sh", "-c", '"$0" -m botsession_console doctor | head -1', sys.executable))
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_a_terminal_has_colours(open_terminal):
    terminal = open_terminal("doctor", ready="configuration", TERM="xterm-256color")
    assert terminal.end() == WARNINGS
    assert "\x1b[33m!\x1b[0m" in terminal.screen
    assert terminal.screen.endswith("\n1 warning\n")


def test_no_colour(open_terminal):
    terminal = open_terminal("doctor", ready="configuration", TERM="xterm-256color", NO_COLOR="1")
    assert terminal.end() == WARNINGS
    assert "\x1b[33m" not in terminal.screen


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_a_window_of_any_width(open_terminal, columns):
    terminal = open_terminal("doctor", ready="configuration", columns=columns, TERM="xterm-256color")
    assert terminal.end() == WARNINGS
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.screen).splitlines()
    assert max(map(len, lines)) <= columns
    assert "choosea" in "".join(lines).replace(" ", "")


def test_ctrl_c_leaves_no_probe_behind(folder, environment):
    (folder / "slow.py").write_text(
        "import asyncio\n"
        "from botsession_file import FileSessionStore\n"
        "class Slow(FileSessionStore):\n"
        "    async def touch(self, session_id, expires_at):\n"
        "        print('renewing', flush=True)\n"
        "        await asyncio.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "botsession_console", "doctor", "--driver", "slow:Slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
    ) as process:
        while process.stdout.readline() != b"renewing\n":
            pass
        assert len(list((folder / ".sessions").glob("*/botsession-doctor*.json"))) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == INTERRUPTED
        assert process.stderr.read() == b""
    assert list((folder / ".sessions").glob("*/*.json")) == []
