"""Limits: how long turns wait for each other, and how large a session may become."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from botsession.configuration.options import listed
from botsession.errors import ConfigError

Lock = Literal["auto", "local", "none"]
"""How turns of one session wait for each other."""

LIMITS: Final[Mapping[str, Any]] = {
    "lock": "auto",
    "lease_ttl": 5.0,
    "lease_wait": 60.0,
    "max_session_size": 1_048_576,
}
"""The defaults."""

_LARGEST: Final = sys.float_info.max  # an int may be larger, but not a number of seconds

_UNITS: Final = {"lease_ttl": "seconds", "lease_wait": "seconds", "max_session_size": "bytes"}


def check_limit(value: object, key: str) -> None:
    """Check one of the settings in `LIMITS`.

    Raises:
        ConfigError: `lock` is not one of its choices, or another limit is not a number above zero.
    """
    if key == "lock":
        if value not in get_args(Lock):
            raise ConfigError(f"lock must be one of {listed(map(repr, get_args(Lock)))}, not {value!r}")
    elif not value or not _is_finite(value):
        raise ConfigError(f"{key} must be a number of {_UNITS[key]} above zero, not {value!r}")


def check_wait(wait: object) -> None:
    """Check the time to wait for one turn.

    Raises:
        ConfigError: It is not a finite number of seconds, or less than zero.
    """
    if not _is_finite(wait):
        raise ConfigError(
            f"wait must be a number of seconds, zero or more, not {wait!r}", remedy="Zero tries once without waiting."
        )


def _is_finite(value: object) -> bool:
    """Return whether a value is a number from zero to the largest float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST
