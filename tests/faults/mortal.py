"""Dedicated servers that a test can kill, freeze and restart on the same port with the same data."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import servers


class Server:
    """A server that persists every acknowledged write.

    Args:
        driver: `redis` or `mongo`.
        folder: The data directory.
    """

    def __init__(self, driver: str, folder: Path) -> None:
        self._driver = driver
        self._folder = folder
        self._port = _lasting_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"{'redis' if driver == 'redis' else 'mongodb'}://127.0.0.1:{self._port}"
        folder.mkdir()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, *arguments: str) -> None:
        """Start the server and wait until it listens."""
        output = self._folder / "output"
        with output.open("ab") as file:
            command = [*self._command(), *arguments]
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=self._folder)
        servers._wait_for(self._port, self._process, output)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server: the operating system still accepts connections and data, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _command(self) -> Sequence[str]:
        folder = str(self._folder)
        if self._driver == "redis":
            durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
            return [servers.redis_binary(), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", folder, *durable]
        return servers.mongo_command(self._port, folder, durable=True)


def _lasting_port() -> int:
    """Return a free port below the ephemeral range, so that no other process gets it while the server is down."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
