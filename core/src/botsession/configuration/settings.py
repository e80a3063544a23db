"""Settings: what a configuration says, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from botsession.configuration.limits import LIMITS, Lock, check_limit
from botsession.configuration.options import listed, suggestion
from botsession.errors import ConfigError, StateError
from botsession.lifetime import Minutes, check_minutes
from botsession.states import json_values

Unset = msgspec.UnsetType
UNSET = msgspec.UNSET

_LIFETIMES = ("expires_in", "max_lifetime")
KEYS = ("driver", "url", *_LIFETIMES, "initial_state", *LIMITS, "stores")
"""The top-level keys of a configuration."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration says.

    Attributes:
        driver: The driver's name, or `module:Class` for a store that is not packaged.
        url: The backend's URL.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        initial_state: The state of a new session.
        lock: How turns of one session wait for each other.
        lease_ttl: Seconds after which the lease of a killed process is free.
        lease_wait: Seconds that a turn waits for other turns of its session.
        max_session_size: Maximum size of a session's state and user, in bytes of JSON.
        stores: Options by driver name.
        origins: The origin of each setting, by its name: a file, an environment variable, or an argument. The name of an
            option is `stores.DRIVER.OPTION`.
    """

    driver: str | Unset = UNSET
    url: str | Unset = UNSET
    expires_in: Minutes | Unset | None = UNSET
    max_lifetime: Minutes | Unset | None = UNSET
    initial_state: dict[str, Any] | Unset = UNSET
    lock: Lock | Unset = UNSET
    lease_ttl: float | Unset = UNSET
    lease_wait: float | Unset = UNSET
    max_session_size: int | Unset = UNSET
    stores: Mapping[str, Mapping[str, object]] = {}
    origins: Mapping[str, str] = {}

    def over(self, lower: Settings) -> Settings:
        """Return these settings, completed by those of `lower`.

        Driver and URL belong together: settings with a driver or a URL override both.
        """
        chosen = self if self.driver is not UNSET or self.url is not UNSET else lower
        merged: dict[str, Any] = {"driver": chosen.driver, "url": chosen.url}
        origins = {**lower.origins, **self.origins}
        for key in ("driver", "url"):
            if key not in chosen.origins:
                origins.pop(key, None)
        for name in lower.stores.keys() & self.stores.keys():
            for option in lower.stores[name].keys() - self.stores[name].keys():
                origins.pop(f"stores.{name}.{option}", None)
        for key in (*_LIFETIMES, "initial_state", *LIMITS):
            value = getattr(self, key)
            merged[key] = getattr(lower, key) if value is UNSET else value
        return Settings(**merged, stores={**lower.stores, **self.stores}, origins=origins)


def parse_settings(table: Mapping[str, object], origin: str) -> Settings:
    """Check a configuration that is already a mapping.

    Args:
        table: The keys of `botsession.toml`.
        origin: Where it comes from, for errors.

    Raises:
        ConfigError: A setting is unknown or of the wrong type.
    """
    for key in table:
        if key not in KEYS:
            raise ConfigError(
                f"{origin}: unknown setting {key!r}{suggestion(key, KEYS)}", remedy=f"The settings are {listed(KEYS)}."
            )
    values: dict[str, Any] = {}
    for key in ("driver", "url"):
        if key in table:
            values[key] = check_type(table[key], str, "a string", key, origin)
    for key in _LIFETIMES:
        if key in table:
            values[key] = parse_minutes(table[key], key, origin)
    if "initial_state" in table:
        values["initial_state"] = _parse_state(table["initial_state"], origin)
    for key in table.keys() & LIMITS.keys():
        values[key] = _parse_limit(table[key], key, origin)
    stores = check_type(table.get("stores", {}), Mapping, "a table", "stores", origin)
    values["stores"] = {name: _parse_section(options, f"stores.{name}", origin) for name, options in stores.items()}
    origins = dict.fromkeys((key for key in table if key != "stores"), origin)
    above = "tool.botsession." if Path(origin).name == "pyproject.toml" else ""
    for name, options in values["stores"].items():
        origins |= dict.fromkeys((f"stores.{name}.{option}" for option in options), f"{origin} [{above}stores.{name}]")
    return Settings(**values, origins=origins)


def parse_minutes(value: object, key: str, origin: str) -> Minutes | None:
    """Return a number of minutes from a configuration; the text `never` is `None`.

    Raises:
        ConfigError: It is neither a number of minutes above zero nor `never`.
    """
    if value is None or value == "never":
        return None
    try:
        return check_minutes(value, key)
    except ConfigError as error:
        raise ConfigError(
            f"{origin}: {error.message}", remedy='In a file or the environment, write "never" for no end.'
        ) from None


def check_type(value: object, kind: type, name: str, key: str, origin: str) -> Any:
    """Return a value from a configuration if it has the right type.

    Args:
        value: The value.
        kind: Its type.
        name: The type's name for an error.
        key: The setting's name.
        origin: Where it comes from.

    Raises:
        ConfigError: It has another type.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{origin}: {key} must be {name}, not {type(value).__name__}")
    return value


def _parse_state(value: object, origin: str) -> dict[str, Any]:
    state = dict(check_type(value, Mapping, "a table", "initial_state", origin))
    try:
        json_values.encode(state, "initial_state")
    except StateError as error:
        raise ConfigError(f"{origin}: {error.message}", remedy=error.remedy) from error
    return state


def _parse_limit(value: object, key: str, origin: str) -> object:
    try:
        check_limit(value, key)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error.message}", remedy=error.remedy) from None
    return value


def _parse_section(value: object, name: str, origin: str) -> dict[str, object]:
    """Return the options of a driver, whose store will check them. TOML has no null, so `never` stands for it."""
    options = dict(check_type(value, Mapping, "a table", name, origin))
    for key in _LIFETIMES:
        if key in options and parse_minutes(options[key], f"{name}.{key}", origin) is None:
            options[key] = None
    return options
