"""A process that opens sessions and forks continues unharmed; its child works or fails immediately with advice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import parents

import servers

SECONDS = 60

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BACKENDS = {
    "memory": lambda _: ("memory", {}),
    "file": lambda folder: ("file", {"dirname": str(folder)}),
    "redis": lambda _: ("redis", {"url": servers.redis_url()}),
    "mongo-motor": lambda _: ("mongo", {"url": servers.mongo_url(), "api": "motor"}),
    "mongo-pymongo": lambda _: ("mongo", {"url": servers.mongo_url(), "api": "pymongo"}),
}


@pytest.fixture(scope="module", params=BACKENDS)
def wrong(request, tmp_path_factory):
    """Return a backend's failures, by way of forking; a separate program tries all of them."""
    driver, options = BACKENDS[request.param](tmp_path_factory.mktemp("sessions"))
    outcome = subprocess.run(
        [sys.executable, "-m", "faults.parents", driver, json.dumps(options)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert outcome.returncode == 0, outcome.stderr
    return json.loads(outcome.stdout)


@pytest.mark.parametrize("fork", parents.NAMES)
def test_a_fork(wrong, fork):
    assert wrong[fork] == ""
