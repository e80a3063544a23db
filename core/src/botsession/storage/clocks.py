"""Comparison of this machine's clock with a server's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from botsession.lifetime import Lifetime
from botsession.protocol import Finding

TOLERATED: Final = timedelta(seconds=1)
"""How far two clocks may differ."""


def compare_clocks(lifetime: Lifetime, before: datetime, theirs: datetime, *, server: str) -> Finding:
    """Compares the clock of this machine with a server's: deadlines are moments, which both of them read.

    Args:
        lifetime: The store's, just after the server has answered.
        before: What its clock said before the server was asked.
        theirs: What the server answered, aware.
        server: A short name of the server.
    """
    after = lifetime.now()
    ahead = theirs - (before + (after - before) / 2)
    # The answer may be older by its way back, and moments are cut to milliseconds.
    least = max(timedelta(), abs(ahead) - (after - before) / 2 - timedelta(milliseconds=1))
    if least <= TOLERATED:
        return Finding("ok", "clock", f"the clocks of this machine and of {server} agree within {TOLERATED.seconds} s")
    direction = "ahead of" if ahead > timedelta() else "behind"
    ends = "too early" if ahead > timedelta() else "too late, for whoever trusts it"
    return Finding(
        "error" if lifetime.expires_in is not None and least >= lifetime.expires_in else "warning",
        "clock",
        f"the clock of {server} is {_length(least)} {direction} this machine's: for it sessions end {ends}",
        "have both machines set their clocks by NTP",
    )


def _length(length: timedelta) -> str:
    seconds = length.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
