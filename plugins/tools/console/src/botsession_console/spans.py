"""Lengths of time and sizes, short enough for a column."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ((86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "m"))


def short_span(span: timedelta) -> str:
    """Returns a length of time in its largest unit, cut, such as `3d`."""
    seconds = max(0, int(span.total_seconds()))
    for length, unit in _UNITS:
        if seconds >= length * (2 if unit == "y" else 1):
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def short_size(size: float | None) -> str:
    """Returns a number of bytes such as `1.2KB`, with 1,024 bytes to the KB; `-` where it is not known."""
    if size is None:
        return "-"
    for unit in ("B", "KB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            break
        size /= 1024
    return f"{size:.0f}{unit}" if unit == "B" or size >= 99.95 else f"{size:.1f}{unit}"


def long_moment(moment: datetime) -> str:
    """Returns a moment such as `2026-11-23 09:30:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
