"""The same bot on each backend, chosen by one word of the configuration or by the environment alone."""

import os
import signal
import subprocess
import sys

import backends
import pytest

BOT = """
import asyncio, os, signal, sys
from botsession import Sessions

async def main():
    async with Sessions() as sessions:
        for _ in range(3):
            async with sessions.turn("telegram:42") as session:
                session.state["count"] = session.state.get("count", 0) + 1
        print(session.state["count"], type(sessions.store).__name__, flush=True)
        if "die" in sys.argv:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] += 100
                os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def run(tmp_path):
    """Run the bot in a folder with no other configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BOTSESSION_")}

    def call(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", BOT, *arguments],
            cwd=tmp_path,
            env={**kept, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if "die" in arguments else 0), done.stderr
        return done.stdout.strip()

    return call


def test_one_word_of_the_configuration_chooses_the_backend(run, tmp_path):
    sections = backends.toml(tmp_path)
    for name in backends.NAMES:
        (tmp_path / "botsession.toml").write_text(f'driver = "{name}"\n{sections}')
        assert run() == f"3 {name.title()}SessionStore"
        assert run() == f"{3 if name == 'memory' else 6} {name.title()}SessionStore"


@pytest.mark.parametrize("name", backends.NAMES)
def test_the_environment_alone_chooses_the_backend(run, tmp_path, name):
    given = backends.options(name, tmp_path)
    url = f"file://{given['dirname']}" if name == "file" else str(given.get("url", "memory://"))
    output = run(BOTSESSION_URL=url, BOTSESSION_EXPIRES_IN="0.5")
    assert output.endswith(f" {name.title()}SessionStore")
    assert run(BOTSESSION_DRIVER="memory") == "3 MemorySessionStore"


@pytest.mark.parametrize("name", backends.LASTING)
def test_after_a_kill_the_conversation_goes_on(run, tmp_path, name):
    (tmp_path / "botsession.toml").write_text(f'driver = "{name}"\n{backends.toml(tmp_path)}')
    assert run("die").startswith("3 ")
    assert run().startswith("6 ")
