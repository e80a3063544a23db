"""The settings in effect: as many as can be read, with the origin of each and without secrets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from botsession.configuration.discovery import drivers
from botsession.configuration.limits import LIMITS
from botsession.configuration.settings import UNSET, Settings, parse_settings
from botsession.configuration.sources import ENVIRONMENT_KEYS, find_table, from_environment, unknown_variables
from botsession.configuration.stores import DEFAULT_DRIVER, check_sections
from botsession.errors import ConfigError
from botsession.lifetime import ONE_YEAR, Minutes
from botsession.protocol import Finding

TOPIC: Final = "configuration"

_OF_STORES: Final = ("url", "expires_in", "max_lifetime")
_KEYS: Final = ("driver", *_OF_STORES, "initial_state", *LIMITS)
_MASK: Final = "***"
_SECRET_NAME: Final = re.compile(
    r"pass|pwd|secret|token|credential|auth(?!source|mechanism)|private|^client$|(^|_|access|account|api)key$",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(r"(pass\w*|pwd|secret|token|key|credentials?|signature)\s*=", re.IGNORECASE)
_USERINFO: Final = re.compile(r"://.*@", re.DOTALL)


def read_settings(arguments: Settings, config: str | os.PathLike[str] | None) -> tuple[Settings, list[Finding]]:
    """Read as much of the configuration as possible.

    Args:
        arguments: Settings that override the environment and the file.
        config: The path of the file; see `botsession.load_settings`.

    Returns:
        The settings in effect, and one error for each invalid setting.
    """
    errors: list[Finding] = []

    def is_valid(read: Callable[[], object]) -> bool:
        try:
            read()
        except ConfigError as error:
            errors.append(_error(error, "Correct it: no bot starts with this configuration."))
            return False
        return True

    errors += [_error(error, "Correct the name, or unset the variable.") for error in unknown_variables()]
    variables = [key for key in ENVIRONMENT_KEYS if is_valid(partial(from_environment, [key]))]
    table: Mapping[str, object] = {}
    origin = ""
    try:
        table, origin = find_table(config)
    except ConfigError as error:
        errors.append(_error(error, "Correct the file or its path."))
    valid: dict[str, object] = {}
    stores: dict[str, object] = {}
    for piece in _pieces(table):
        if is_valid(partial(_check, piece, origin)):
            valid |= piece
            stores |= piece.get("stores", {})
    from_file = parse_settings({**valid, "stores": stores}, origin)
    return arguments.over(from_environment(variables)).over(from_file), errors


def _error(error: ConfigError, remedy: str) -> Finding:
    return Finding("error", TOPIC, error.message, error.remedy or remedy)


def _check(piece: Mapping[str, Any], origin: str) -> None:
    check_sections(parse_settings(piece, origin))


def driver_of(settings: Settings) -> str:
    """Return the name of the driver that the settings choose."""
    scheme, _, _ = (settings.url or "").partition("://")
    return settings.driver or scheme.lower() or DEFAULT_DRIVER


def describe_settings(settings: Settings) -> list[Finding]:
    """Return one finding for each setting in effect, with its origin; secrets are masked."""
    driver = driver_of(settings)
    sections = {name: settings.stores[name] for name in (driver, *drivers.aliases(driver)) if name in settings.stores}
    values = {key: value for key in _KEYS if (value := getattr(settings, key)) is not UNSET}
    lines = {key: _line(key, value) for key, value in values.items()}
    for section, options in sections.items():
        lines |= {
            f"stores.{section}.{name}": _line(name, value)
            for name, value in options.items()
            if name not in _OF_STORES or name not in values  # the top level takes precedence
        }
    found = [f"{line} ({settings.origins.get(name, 'an argument')})" for name, line in lines.items()]
    if not {"driver", "url"} & values.keys():
        found.insert(0, f"{_line('driver', DEFAULT_DRIVER)} (the default)")
    if not any("expires_in" in options for options in (values, *sections.values())):
        found.append(f"{_line('expires_in', ONE_YEAR)} (the default)")
    return [Finding("ok", TOPIC, line) for line in found]


def masked(name: str, value: object) -> str:
    """Return a value for display, with three asterisks in place of anything that may be secret.

    Args:
        name: The option's name.
        value: Its value.
    """
    if _SECRET_NAME.search(name):
        return _MASK
    if isinstance(value, str):
        return json.dumps(_without_secrets(value), ensure_ascii=False)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return f"a {type(value).__name__}"


def _without_secrets(text: str) -> str:
    if "://" not in text:
        return _MASK if _SECRET_VALUE.search(text) or "@" in text else text
    address, mark, query = _USERINFO.sub(f"://{_MASK}@", text).partition("?")
    settings = (part.partition("=") for part in query.split("&"))
    return (
        address
        + mark
        + "&".join(
            f"{key}={_MASK if _SECRET_NAME.search(key) else value}" if equals else key
            for key, equals, value in settings
        )
    )


def _pieces(table: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Split a configuration into the smallest pieces that can be valid or invalid."""
    for key, value in table.items():
        if key == "stores" and isinstance(value, Mapping):
            yield from ({key: {name: options}} for name, options in value.items())
        else:
            yield {key: value}


def _line(key: str, value: Any) -> str:
    if key == "initial_state" and isinstance(value, Mapping):
        return f"initial_state with {len(value)} keys"
    return f"{key} = {_minutes(value) if key in ('expires_in', 'max_lifetime') else masked(key, value)}"


def _minutes(value: Minutes | None) -> str:
    if value is None:
        return "never"
    minutes = value / timedelta(minutes=1) if isinstance(value, timedelta) else value
    days = f", {minutes / 1440:,.0f} days" if minutes >= 2 * 1440 else ""
    return f"{minutes:,g} minutes{days}" if minutes < 1e6 else f"{minutes:,.0f} minutes{days}"
