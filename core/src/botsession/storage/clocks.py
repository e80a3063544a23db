"""Comparison of this machine's clock with a server's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from botsession.lifetime import Lifetime
from botsession.protocol import Finding

TOLERATED: Final = timedelta(seconds=1)
"""The difference between two clocks that is ignored."""


def compare_clocks(lifetime: Lifetime, before: datetime, theirs: datetime, *, server: str) -> Finding:
    """Compare the clock of this machine with a server's. Both of them decide what has expired.

    Call it as soon as the server has answered.

    Args:
        lifetime: The store's lifetime, whose clock is compared.
        before: The time of that clock before the server was asked.
        theirs: The time that the server returned, with a time zone.
        server: A short name of the server.
    """
    after = lifetime.now()
    ahead = theirs - (before + (after - before) / 2)
    # The server may have read its clock at any time during the round trip, and moments are cut to milliseconds.
    least = max(timedelta(), abs(ahead) - (after - before) / 2 - timedelta(milliseconds=1))
    if least <= TOLERATED:
        return Finding("ok", "clock", f"the clocks of this machine and of {server} agree within {TOLERATED.seconds} s")
    direction = "ahead of" if ahead > timedelta() else "behind"
    ends = "too early" if ahead > timedelta() else "too late"
    return Finding(
        "error" if lifetime.expires_in is not None and least >= lifetime.expires_in else "warning",
        "clock",
        f"the clock of {server} is {_length(least)} {direction} this machine's, so it ends sessions {ends}",
        "synchronize the clocks of both machines by NTP",
    )


def _length(length: timedelta) -> str:
    seconds = length.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
