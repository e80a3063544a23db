"""The place where one measure stores its sessions: a server and a folder."""

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
        backend: The measured backend.
        url: The URL of its server; empty if it has none.
        folder: An empty folder.
        namespace: A name that is unique on the server.
    """

    backend: str
    url: str
    folder: Path
    namespace: str

    def fresh(self, name: str) -> str:
        """Return a unique name for one contender's sessions."""
        return f"{self.namespace}_{name}_{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def prepared(backend: str) -> Iterator[Place]:
    """Prepare a place, with an empty server if the backend needs one and the environment names none."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="botsession-bench-"))
        url = ""
        if backend in {"redis", "mongo"}:
            given = os.environ.get(f"BOTSESSION_TEST_{backend.upper()}_URL")
            start = servers.redis_server if backend == "redis" else servers.mongo_server
            url = given.rstrip("/") if given else stack.enter_context(start())
        yield Place(backend, url, Path(folder), f"bench{uuid.uuid4().hex[:8]}")
