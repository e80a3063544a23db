"""Where sessions are kept during one measure: servers and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import servers

BACKENDS = ("memory", "redis", "mongo", "file")


@dataclass(frozen=True)
class Place:
    """Addresses for the contenders.

    Attributes:
        backend: The backend that is measured.
        url: Where its server is; empty where it has none.
        folder: An empty folder.
        namespace: A word that nobody else uses on the server.
    """

    backend: str
    url: str
    folder: Path
    namespace: str

    def fresh(self, name: str) -> str:
        """Returns a name for one contender's sessions."""
        return f"{self.namespace}_{name}_{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def prepared(backend: str) -> Iterator[Place]:
    """Starts an empty server where the backend needs one and the environment names none; stops it afterwards."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="botsession-bench-"))
        url = ""
        if backend in {"redis", "mongo"}:
            given = os.environ.get(f"BOTSESSION_TEST_{backend.upper()}_URL")
            start = servers.redis_server if backend == "redis" else servers.mongo_server
            url = given.rstrip("/") if given else stack.enter_context(start())
        yield Place(backend, url, Path(folder), f"bench{uuid.uuid4().hex[:8]}")
