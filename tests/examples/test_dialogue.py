"""A whole play through `botsession console`, on each backend, in one process and across several."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import servers
from botsession import Sessions

EXAMPLE = pathlib.Path(__file__).parents[2] / "docs/examples/dialogue"
PLAY = (EXAMPLE / "twelfth_night.txt").read_text(encoding="utf-8").splitlines()
ACT = PLAY[:300]
"""Enough lines for tests of what is stored, and of what one process leaves to the next."""


class Listener:
    """The example's bot in subprocesses, on one backend, with one new session."""

    def __init__(self, driver: str, folder: pathlib.Path) -> None:
        urls: dict[str, Callable[[], str]] = {
            "memory": lambda: "memory://",
            "file": lambda: f"file://{folder}/sessions",
            "redis": servers.redis_url,
            "mongo": lambda: f"{servers.mongo_url()}/botsession_examples",
        }
        self.url = urls[driver]()
        self.user = uuid.uuid4().hex
        self.command = [sys.executable, "-m", "botsession_console", "console", "bot:bot", "--user", self.user]
        self.environment = {**os.environ, "BOTSESSION_URL": self.url, "PYTHONDONTWRITEBYTECODE": "1"}

    def hear(self, lines: Sequence[str]) -> list[str]:
        """Pipe lines to the bot, and return the lines that it printed."""
        done = subprocess.run(
            self.command,
            cwd=EXAMPLE,
            env=self.environment,
            input="".join(f"{line}\n" for line in lines),
            encoding="utf-8",
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def hear_until_killed(self, lines: Sequence[str], answers: int) -> None:
        """Pipe lines to the bot, and kill it after a number of answers."""
        with subprocess.Popen(
            self.command, cwd=EXAMPLE, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            process.stdin.flush()
            for _ in range(answers):
                assert process.stdout.readline().startswith(b"Bot > ")
            process.kill()

    def state(self) -> dict[str, Any]:
        """Open the store, and return the stored state."""

        async def read() -> dict[str, Any]:
            async with Sessions(self.url) as sessions:
                session = await sessions.read(f"console:{self.user}")
                assert session is not None
                return session.state

        return asyncio.run(read())


def heard(lines: Sequence[str]) -> dict[str, Any]:
    """Compute the state after these lines, without the bot."""
    speakers = [line.split(": ", 1)[0] for line in lines]
    spoken = [re.findall(r"[a-z]+(?:'[a-z]+)*", line.split(": ", 1)[1].lower()) for line in lines]
    counts = [len(words) for words in spoken]
    longest = counts.index(max(counts))
    words: dict[str, int] = {}
    vocabulary: Counter[str] = Counter()
    digest = ""
    for line, speaker, said in zip(lines, speakers, spoken, strict=True):
        words[speaker] = words.get(speaker, 0) + len(said)
        vocabulary.update(said)
        if len(vocabulary) > 400:
            by_name = sorted(vocabulary.items())
            vocabulary = Counter(dict(sorted(by_name, key=lambda entry: entry[1], reverse=True)[:200]))
        digest = hashlib.sha256(f"{digest}{line}".encode()).hexdigest()
    return {
        "lines": len(lines),
        "words": words,
        "longest": {"line": longest + 1, "speaker": speakers[longest], "words": counts[longest]},
        "vocabulary": dict(vocabulary),
        "recent": list(lines[-8:]),
        "digest": digest,
    }


def assert_same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that two states are equal, including the order of their keys."""
    assert state == expected
    assert json.dumps(state) == json.dumps(expected)


def split(seed: int, parts: int) -> list[list[str]]:
    """Split the act at random lines."""
    cuts = sorted(random.Random(seed).sample(range(1, len(ACT)), parts - 1))
    return [ACT[start:end] for start, end in itertools.pairwise([0, *cuts, len(ACT)])]


@pytest.mark.parametrize("driver", ["memory", "file", "redis", "mongo"])
def test_one_process(driver: str, tmp_path: pathlib.Path) -> None:
    listener = Listener(driver, tmp_path)
    lines = PLAY if driver == "memory" else ACT
    *answers, shown = listener.hear([*lines, "/state"])
    assert_same(json.loads(shown), heard(lines))
    assert [answer.split(".")[0] for answer in answers] == [f"Bot > {number + 1}" for number in range(len(lines))]
    if driver != "memory":  # whose sessions ended with the process
        assert_same(listener.state(), heard(lines))


@pytest.mark.parametrize(("seed", "processes"), [(1, 2), (2, 5)])
@pytest.mark.parametrize("driver", ["file", "redis", "mongo"])
def test_one_process_after_the_other(driver: str, seed: int, processes: int, tmp_path: pathlib.Path) -> None:
    listener = Listener(driver, tmp_path)
    said: list[str] = []
    for part in split(seed, processes):
        listener.hear(part)
        said += part
        assert_same(listener.state(), heard(said))
    assert said == ACT


@pytest.mark.parametrize("driver", ["file", "redis", "mongo"])
def test_a_killed_process_has_kept_every_line_it_went_on_from(driver: str, tmp_path: pathlib.Path) -> None:
    listener = Listener(driver, tmp_path)
    answers = random.Random(driver).randrange(100, 200)
    listener.hear_until_killed(ACT, answers)
    state = listener.state()
    assert state["lines"] >= answers - 1, "the last one may have been answered and not saved yet"
    assert_same(state, heard(ACT[: state["lines"]]))
    listener.hear(ACT[state["lines"] :])
    assert_same(listener.state(), heard(ACT))


@pytest.mark.parametrize(
    "wrong",
    [ACT[:7] + ACT[8:], ACT[:8] + ACT[7:], [*ACT[:7], ACT[8], ACT[7], *ACT[9:]]],
    ids=["lost", "doubled", "out of place"],
)
def test_a_wrong_line_shows_in_the_state(wrong: list[str], tmp_path: pathlib.Path) -> None:
    shown = Listener("memory", tmp_path).hear([*wrong, "/state"])[-1]
    assert json.loads(shown)["digest"] != heard(ACT)["digest"]


def test_the_recording_is_what_its_readme_says() -> None:
    assert len(PLAY) == 926
    assert all(re.fullmatch(r"[A-Z][A-Z -]+: \S.*\S", line) for line in PLAY)
    assert (PLAY[0][:16], PLAY[-1][-21:]) == ("DUKE: If music b", "please you every day.")
