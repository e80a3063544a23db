"""When a session ends: one clock, one unit (minutes), one rule for every driver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from botsession.errors import ConfigError

if TYPE_CHECKING:
    from botsession.session import Session

Clock = Callable[[], datetime]
"""Returns the present moment as an aware `datetime`."""

Minutes = float | timedelta
"""A length of time, as a number of minutes (`int` or `float`) or a `timedelta`."""

ONE_YEAR: Final = 525_600
"""The default of `expires_in`, in minutes."""

_SHORTEST: Final = timedelta(milliseconds=1)
_LONGEST: Final = timedelta(days=365_000)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)


def utc_now() -> datetime:
    """Returns the system's time in UTC, cut to milliseconds: the clock of every store that is given no other."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def new_version() -> str:
    """Returns a version token: 64 random bits as 16 hexadecimal digits."""
    return os.urandom(8).hex()


def check_minutes(value: object, name: str = "expires_in") -> timedelta | None:
    """Turns a setting in minutes into a length of time.

    Args:
        value: Minutes as an `int`, `float` or `timedelta`; `None` means no end.
        name: The setting's name, for the error.

    Returns:
        The length of time, cut to milliseconds, or `None` for no end.

    Raises:
        ConfigError: The value is no number, not above zero, or above a thousand years.
    """
    if value is None:
        return None
    advice = f"{name} is a number of minutes above zero, or None for never"
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        length = timedelta(minutes=min(value, 2 * _LONGEST / timedelta(minutes=1)))
    else:
        raise ConfigError(f"{advice}; got {value!r}")
    if not _SHORTEST <= length <= _LONGEST:
        raise ConfigError(f"{advice}, from a millisecond to a thousand years; got {value!r}")
    return length - length % _SHORTEST


class Lifetime:
    """How long a store keeps its sessions.

    Every store that expires sessions owns one, made from its constructor's arguments, and asks it for everything that
    concerns time. Moments are aware, in UTC, and whole milliseconds, which is what every backend can hold.

    Args:
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends however active it is; `None` means never.
        clock: Tells the present moment, in any time zone.

    Attributes:
        expires_in: The length of time since the last write or touch; `None` for never.
        max_lifetime: The length of time since the creation; `None` for never.
        now: Returns the present moment in UTC, cut to milliseconds. It raises a `ConfigError` where the clock gives a moment
            without a time zone.

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
        self.now: Final[Clock] = clock if clock is utc_now else lambda: _told_by(clock)

    def deadline(self, session: Session, now: datetime) -> datetime | None:
        """Returns the moment at which the session ends if it is renewed at `now`; `None` means never.

        Args:
            session: Its own `expires_in`, where set, goes before the store's; its `created_at` bounds `max_lifetime`.
            now: The moment of the renewal.

        Raises:
            ConfigError: The session's own `expires_in` is no number of minutes above zero.
        """
        own: object = session.expires_in
        if isinstance(own, timedelta):
            raise ConfigError("session.expires_in is stored with the session, as a number of minutes; got a timedelta")
        length = self.expires_in if isinstance(own, msgspec.UnsetType) else check_minutes(own, "session.expires_in")
        try:
            deadline = None if length is None else now + length
            if self.max_lifetime is not None:
                end = _milliseconds(session.created_at + self.max_lifetime)
                return end if deadline is None else min(deadline, end)
        except OverflowError:
            return _LAST
        return deadline

    def stamp(self, session: Session) -> None:
        """Marks a session as written now: new `version`, `last_activity` and `expires_at`.

        A store calls this first in `write` and `replace`, before it talks to its backend. A session that was never
        stored before (its `version` is empty) is also marked as created now.

        Args:
            session: The session about to be stored; changed in place.

        Raises:
            ConfigError: The session's own `expires_in` is no number of minutes above zero.
        """
        self._stamp(session, self.now(), new_version())

    def stamp_all(self, sessions: Sequence[Session]) -> datetime:
        """Marks sessions that are written together, as `stamp` does, at one moment; returns it.

        Raises:
            ConfigError: The own `expires_in` of one of them is no number of minutes above zero.
        """
        now = self.now()
        digits = os.urandom(8 * len(sessions)).hex()
        for index, session in enumerate(sessions):
            self._stamp(session, now, digits[16 * index : 16 * index + 16])
        return now

    def expired(self, expires_at: datetime | None, now: datetime | None = None) -> bool:
        """Tells whether a deadline has been reached, now or at that moment; `None` never is."""
        return expires_at is not None and expires_at <= (now or self.now())

    def _stamp(self, session: Session, now: datetime, version: str) -> None:
        if not session.version:
            session.created_at = now
        session.expires_at = self.deadline(session, now)
        session.last_activity = now
        session.version = version


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _told_by(clock: Clock) -> datetime:
    """Returns what a clock says, in UTC and whole milliseconds."""
    moment: object = clock()
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigError(
            f"the clock gave {moment!r}, which is no moment with a time zone; let it return datetime.now(UTC)"
        )
    try:
        return _milliseconds(moment.astimezone(UTC))
    except OverflowError as error:
        raise ConfigError(
            f"the clock gave {moment!r}, which is before the year 1 or after the year 9999 in UTC"
        ) from error
