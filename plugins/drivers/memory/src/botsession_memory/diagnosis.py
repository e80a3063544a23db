"""What would lose sessions that are kept in memory."""

from __future__ import annotations

from botsession import Finding


def diagnose(*, kept: int, max_size: int, evictions: int) -> list[Finding]:
    """Returns the findings for a store.

    Args:
        kept: How many sessions it keeps.
        max_size: How many it has room for.
        evictions: How many live ones it has dropped for lack of room.
    """
    durability = Finding(
        "warning",
        "durability",
        "sessions are in the memory of one process, and end with it",
        "choose a driver that stores them, such as file, redis or mongo",
    )
    if evictions:
        message = f"{evictions:,} sessions that had not expired were dropped: there is room for {max_size:,}"
        return [durability, Finding("warning", "eviction", message, "raise max_size, or shorten expires_in")]
    message = f"{kept:,} sessions; there is room for {max_size:,}, and beyond it the least recently used are dropped"
    return [durability, Finding("ok", "eviction", message)]
