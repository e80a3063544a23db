"""When a session ends: one clock, one unit (minutes) and one rule for every driver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from botsession.errors import ConfigError
from botsession.session import Session

Clock = Callable[[], datetime]
"""A function that returns the current time as an aware `datetime`."""

Minutes = float | timedelta
"""A length of time, as a number of minutes (`int` or `float`) or a `timedelta`."""

ONE_YEAR: Final = 525_600
"""The default of `expires_in`, in minutes."""

_SHORTEST: Final = timedelta(milliseconds=1)
_LONGEST: Final = timedelta(days=365_000)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)

_latest = 0, datetime(1970, 1, 1, tzinfo=UTC)
"""The latest moment that `utc_now` has returned, and its number of milliseconds since 1970."""


def utc_now() -> datetime:
    """Return the system's time in UTC, truncated to milliseconds. It is the default clock of every store."""
    global _latest  # noqa: PLW0603 - many turns look at the clock in the same millisecond
    latest, milliseconds = _latest, time.time_ns() // 1_000_000
    if latest[0] != milliseconds:
        _latest = latest = milliseconds, datetime.fromtimestamp(milliseconds / 1000, UTC)
    return latest[1]


def new_version() -> str:
    """Return a version token: 64 random bits as 16 hexadecimal digits."""
    return os.urandom(8).hex()


def check_minutes(value: object, name: str = "expires_in") -> timedelta | None:
    """Convert a setting in minutes to a length of time.

    Args:
        value: Minutes as an `int`, `float` or `timedelta`; `None` means never.
        name: The setting's name, for the error.

    Returns:
        The length of time, truncated to milliseconds, or `None` for never.

    Raises:
        ConfigError: The value is not a number, not above zero, or above a thousand years.
    """
    if value is None:
        return None
    rule = f"{name} is a number of minutes above zero, or None for never"
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        length = timedelta(minutes=min(value, 2 * _LONGEST / timedelta(minutes=1)))
    else:
        raise ConfigError(f"{rule}; got {value!r}")
    if not _SHORTEST <= length <= _LONGEST:
        raise ConfigError(f"{rule}, from a millisecond to a thousand years; got {value!r}")
    return length - length % _SHORTEST


class Lifetime:
    """How long a store keeps its sessions.

    Every store that expires sessions has one, made from its constructor's arguments, and uses it for everything that concerns
    time. Moments are aware, in UTC, and whole milliseconds, which every backend can represent.

    Args:
        expires_in: Minutes after the last write or touch when a session ends; `None` means never.
        max_lifetime: Minutes after its creation when a session ends, however active it is; `None` means never.
        clock: Returns the present moment, in any time zone.

    Attributes:
        expires_in: The length of time after the last write or touch; `None` means never.
        max_lifetime: The length of time after the creation; `None` means never.
        now: Returns the present moment in UTC, truncated to milliseconds. It raises a `ConfigError` if the clock returns a
            moment without a time zone.

    Raises:
        ConfigError: A length of time is not above zero.
    """

    __slots__ = ("expires_in", "max_lifetime", "now")

    def __init__(
        self,
        expires_in: Minutes | None = ONE_YEAR,
        *,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.expires_in: Final = check_minutes(expires_in)
        self.max_lifetime: Final = check_minutes(max_lifetime, "max_lifetime")
        self.now: Final[Clock] = clock if clock is utc_now else lambda: _read_clock(clock)

    def deadline(self, session: Session[Any], now: datetime) -> datetime | None:
        """Return the moment when the session ends if it is renewed at `now`; `None` means never.

        Args:
            session: Its own `expires_in`, if set, overrides the store's. `max_lifetime` counts from its `created_at`.
            now: The moment of the renewal.

        Raises:
            ConfigError: The session's own `expires_in` is not a number of minutes above zero.
        """
        own: object = session.expires_in
        if own is msgspec.UNSET:
            length = self.expires_in
        elif isinstance(own, timedelta):
            raise ConfigError(
                "session.expires_in got a timedelta",
                remedy="Set a number of minutes, because it is stored with the session.",
            )
        else:
            length = check_minutes(own, "session.expires_in")
        try:
            deadline = None if length is None else now + length
            if self.max_lifetime is not None:
                end = _milliseconds(session.created_at + self.max_lifetime)
                return end if deadline is None else min(deadline, end)
        except OverflowError:
            return _LAST
        return deadline

    def is_due(self, session: Session[Any], share: float) -> bool:
        """Return whether less than this share of the session's lifetime is left, so that its deadline should be renewed."""
        now, ends = self.now(), session.expires_at
        if (
            session.expires_in is msgspec.UNSET
            and ends is not None
            and self.expires_in is not None
            and (ends - now) / self.expires_in >= share
        ):
            return False  # the usual case; max_lifetime can only shorten the lifetime
        deadline = self.deadline(session, now)
        if deadline is None or deadline == ends:
            return False
        return ends is None or (deadline > now and (ends - now) / (deadline - now) < share)

    def stamp(self, session: Session) -> None:
        """Mark a session as written now: new `version`, `last_activity` and `expires_at`.

        A store calls this first in `write` and `replace`, before it calls its backend. A session that was never stored before
        (its `version` is empty) is also marked as created now.

        Args:
            session: The session to store; changed in place.

        Raises:
            ConfigError: The session's own `expires_in` is not a number of minutes above zero.
        """
        self._stamp(session, self.now(), os.urandom(8).hex())

    def stamp_all(self, sessions: Sequence[Session]) -> datetime:
        """Mark sessions that are written in one batch, as `stamp` does, at one moment; return that moment.

        Raises:
            ConfigError: The own `expires_in` of one of them is not a number of minutes above zero.
        """
        now = self.now()
        digits = os.urandom(8 * len(sessions)).hex()
        for index, session in enumerate(sessions):
            self._stamp(session, now, digits[16 * index : 16 * index + 16])
        return now

    def expired(self, expires_at: datetime | None, now: datetime | None = None) -> bool:
        """Return whether a deadline has been reached, now or at the given moment; `None` is never reached."""
        return expires_at is not None and expires_at <= (now or self.now())

    def _stamp(self, session: Session, now: datetime, version: str) -> None:
        if not session.version:
            session.created_at = now
        session.expires_at = self.deadline(session, now)
        session.last_activity = now
        session.version = version


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _read_clock(clock: Clock) -> datetime:
    """Return what a clock says, in UTC and whole milliseconds."""
    moment: object = clock()
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigError(
            f"the clock gave {moment!r}, which is not a moment with a time zone", remedy="Return `datetime.now(UTC)`."
        )
    try:
        return _milliseconds(moment.astimezone(UTC))
    except OverflowError as error:
        raise ConfigError(
            f"the clock gave {moment!r}, which is before the year 1 or after the year 9999 in UTC"
        ) from error
