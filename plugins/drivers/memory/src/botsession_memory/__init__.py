"""Sessions in memory: the driver `memory` of botsession."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botsession import Clock, ConfigError, SessionStore, construct, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botsession_memory.store import MemorySessionStore

__all__ = ["MemorySessionStore", "open_store"]


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock) -> SessionStore:
    """Return a `MemorySessionStore`; its URL is always `memory://`."""
    from botsession_memory.store import MemorySessionStore

    arguments = dict(options)
    if arguments.pop("url", "memory://") != "memory://":
        raise ConfigError(
            "the URL of the driver 'memory' is memory:// and nothing else", remedy="Set max_size as an option."
        )
    return construct(MemorySessionStore, arguments, clock=clock)


def __getattr__(name: str) -> object:
    if name == "MemorySessionStore":
        from botsession_memory.store import MemorySessionStore

        return MemorySessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
