"""The answer to a request that needs a power which the store lacks."""

from __future__ import annotations

from botsession.errors import UnsupportedError
from botsession.protocol import SessionStore


def unsupported(store: SessionStore, power: str, purpose: str) -> UnsupportedError:
    """Returns the error for a store that lacks a power.

    Args:
        store: The store.
        power: The power's name, such as `scan`.
        purpose: What it was needed for, such as `list its sessions`.
    """
    return UnsupportedError(f"{type(store).__name__} cannot {purpose}: it lacks the power {power!r}")
