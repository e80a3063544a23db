"""The four built-in backends, each configured as a user does it, with separate storage for each test."""

from __future__ import annotations

import pathlib
import uuid

import servers

NAMES = ["memory", "file", "redis", "mongo"]
LASTING = ["file", "redis", "mongo"]
"""The backends that outlive the process."""


def options(name: str, folder: pathlib.Path) -> dict[str, object]:
    """Return options of a backend that give it storage of its own."""
    unique = uuid.uuid4().hex
    return {
        "memory": {},
        "file": {"dirname": str(folder / "sessions")},
        "redis": {"url": servers.redis_url(), "key_prefix": f"{unique}:"},
        "mongo": {"url": f"{servers.mongo_url()}/botsession_test", "collection_name": f"sessions_{unique}"},
    }[name]


def toml(folder: pathlib.Path) -> str:
    """Return a configuration with a section for every backend that does not choose one yet."""
    lines = ["expires_in = 10", "initial_state = { count = 0 }"]
    for name in NAMES:
        lines.append(f"[stores.{name}]")
        lines += [f"{key} = '{value}'" for key, value in options(name, folder).items()]
    return "\n".join(lines) + "\n"
