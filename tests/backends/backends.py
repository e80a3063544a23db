"""The four built-in backends, each as a user configures it, with a place of its own for each test."""

from __future__ import annotations

import pathlib
import uuid

import servers

NAMES = ["memory", "file", "redis", "mongo"]
LASTING = ["file", "redis", "mongo"]
"""Those that outlive the process."""


def options(name: str, folder: pathlib.Path) -> dict[str, object]:
    """Returns the options of a backend that nobody else uses."""
    unique = uuid.uuid4().hex
    return {
        "memory": {},
        "file": {"dirname": str(folder / "sessions")},
        "redis": {"url": servers.redis_url(), "key_prefix": f"{unique}:"},
        "mongo": {"url": f"{servers.mongo_url()}/botsession_test", "collection_name": f"sessions_{unique}"},
    }[name]


def toml(folder: pathlib.Path) -> str:
    """Returns a configuration with a section for every backend and no word yet on which one to use."""
    lines = ["expires_in = 10", "initial_state = { count = 0 }"]
    for name in NAMES:
        lines.append(f"[stores.{name}]")
        lines += [f"{key} = '{value}'" for key, value in options(name, folder).items()]
    return "\n".join(lines) + "\n"
