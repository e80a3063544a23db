"""A failing test leaves nothing behind that makes another test fail."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TESTS = """\
import gc, socket

def test_fails_with_an_open_socket():
    leaked = socket.socket()
    round_and_round = [leaked]
    round_and_round.append(round_and_round)
    assert False

def test_is_innocent():
    gc.collect()
"""


@pytest.mark.once
def test_a_failed_test_makes_no_other_one_fail(tmp_path):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_two.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
