"""What would lose sessions in memory."""

from __future__ import annotations

from botsession import Finding


def diagnose(*, kept: int, max_size: int, evictions: int) -> list[Finding]:
    """Return the findings for a store.

    Args:
        kept: The number of sessions in it.
        max_size: The number of sessions that it has room for.
        evictions: The number of sessions that were dropped for lack of room before they expired.
    """
    durability = Finding(
        "warning",
        "durability",
        "sessions are in the memory of one process and end with it",
        "choose a driver that keeps them, such as file, redis or mongo",
    )
    if evictions:
        message = f"{evictions:,} sessions were dropped before they expired: there is room for {max_size:,}"
        return [durability, Finding("warning", "eviction", message, "raise max_size, or shorten expires_in")]
    message = f"{kept:,} of {max_size:,} sessions; beyond that, the least recently used are dropped"
    return [durability, Finding("ok", "eviction", message)]
