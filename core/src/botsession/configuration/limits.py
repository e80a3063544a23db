"""Limits of turns: how long they wait for each other, and how large a session may grow."""

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
"""What holds where neither an argument nor the configuration says otherwise."""

_LARGEST: Final = sys.float_info.max  # an int may be larger, and is no number of seconds

_UNITS: Final = {"lease_ttl": "seconds", "lease_wait": "seconds", "max_session_size": "bytes"}


def check_wait(wait: object) -> None:
    """Refuses what cannot be a time to wait for one turn.

    Raises:
        ConfigError: It is no number of seconds, or less than zero, or endless.
    """
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= _LARGEST:
        raise ConfigError(f"wait is a number of seconds, zero or more (zero tries once); got {wait!r}")


def check_limit(value: object, key: str) -> None:
    """Refuses what cannot be a limit.

    Args:
        value: What was given.
        key: Which limit it is to be: one of `LIMITS`.

    Raises:
        ConfigError: It is no way to wait, or no number above zero.
    """
    if key == "lock":
        if value not in get_args(Lock):
            raise ConfigError(f"lock is one of {listed(get_args(Lock))}; got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LARGEST:
        raise ConfigError(f"{key} is a number of {_UNITS[key]} above zero; got {value!r}")
