"""Configuration: a file, over it the environment, over both the arguments.

The file is `botsession.toml`, else the table `[tool.botsession]` of `pyproject.toml`, in the working directory or the
nearest folder above it. Of the environment `BOTSESSION_CONFIG`, `BOTSESSION_DRIVER`, `BOTSESSION_URL`,
`BOTSESSION_EXPIRES_IN` and `BOTSESSION_DISABLE_DRIVERS` are read. Names that begin with `BOTSESSION_TEST_` are left to tests; any
other one that begins with `BOTSESSION_` is a mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
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

IN_ENVIRONMENT = ("driver", "url", "expires_in")
"""The settings that the environment may hold, each in `BOTSESSION_` and its name."""

_PREFIX = "BOTSESSION_"
_FOR_TESTS = "BOTSESSION_TEST_"
_VARIABLES = tuple(f"{_PREFIX}{name.upper()}" for name in ("config", *IN_ENVIRONMENT, "disable_drivers"))

_LENGTHS = ("expires_in", "max_lifetime")
_KEYS = ("driver", "url", *_LENGTHS, "initial_state", *LIMITS, "stores")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration says.

    Attributes:
        driver: The driver's name, or `module:Class` of a store that is not packaged.
        url: The backend's URL.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        initial_state: The state of a new session.
        lock: How turns of one session wait for each other.
        lease_ttl: Seconds after which the lease of a process that was killed is free.
        lease_wait: Seconds that a turn waits for others of its session.
        max_session_size: Bytes of JSON that state and user of a session may have.
        stores: Options by driver name.
        origins: Where each setting was found, by its name: a file, a variable of the environment, or an argument. The
            name of an option is `stores.DRIVER.OPTION`.
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
        """Returns these settings, with those of `lower` where these say nothing.

        Driver and URL belong together: settings that name a driver, or give a URL, replace both.
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
        for key in (*_LENGTHS, "initial_state", *LIMITS):
            value = getattr(self, key)
            merged[key] = getattr(lower, key) if value is UNSET else value
        return Settings(**merged, stores={**lower.stores, **self.stores}, origins=origins)


def load_settings(path: str | os.PathLike[str] | None = None) -> Settings:
    """Reads the configuration file and the environment.

    Args:
        path: The file; where `None`, `BOTSESSION_CONFIG` names it, else it is looked for from the working directory
            upwards.

    Returns:
        What they say; all unset where there is no file and no variable.

    Raises:
        ConfigError: A named file is missing, a file cannot be read, or a setting is unknown or of the wrong type; or a
            variable of the environment begins with `BOTSESSION_` and is none of ours.
    """
    for error in unknown_variables():
        raise error
    return from_environment().over(parse_settings(*find_table(path)))


def unknown_variables() -> Iterator[ConfigError]:
    """Finds variables of the environment that are named as if they were ours, and that nobody reads."""
    for variable in sorted(os.environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_FOR_TESTS) or variable in _VARIABLES:
            continue
        if os.environ[variable]:
            key = variable.removeprefix(_PREFIX).lower()
            hint = (
                f"; {key} is set in the configuration file or as an argument"
                if key in _KEYS
                else f"{suggestion(variable, _VARIABLES)}; known are {listed(_VARIABLES)}"
            )
            yield ConfigError(f"the environment: unknown variable {variable}{hint}")


def parse_settings(table: Mapping[str, object], origin: str) -> Settings:
    """Checks a configuration that is already a mapping.

    Args:
        table: The keys of `botsession.toml`.
        origin: Where it comes from, for errors.

    Raises:
        ConfigError: A setting is unknown or of the wrong type.
    """
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"{origin}: unknown setting {key!r}{suggestion(key, _KEYS)}; known are {listed(_KEYS)}")
    values: dict[str, Any] = {}
    for key in ("driver", "url"):
        if key in table:
            values[key] = _typed(table[key], str, "a text", key, origin)
    for key in _LENGTHS:
        if key in table:
            values[key] = parse_minutes(table[key], key, origin)
    if "initial_state" in table:
        values["initial_state"] = _parse_state(table["initial_state"], origin)
    for key in table.keys() & LIMITS.keys():
        values[key] = _parse_limit(table[key], key, origin)
    stores = _typed(table.get("stores", {}), Mapping, "a table", "stores", origin)
    values["stores"] = {
        name: _parse_section(_typed(options, Mapping, "a table", f"stores.{name}", origin), f"stores.{name}", origin)
        for name, options in stores.items()
    }
    origins = dict.fromkeys((key for key in table if key != "stores"), origin)
    above = "tool.botsession." if Path(origin).name == "pyproject.toml" else ""
    for name, options in values["stores"].items():
        origins |= dict.fromkeys((f"stores.{name}.{option}" for option in options), f"{origin} [{above}stores.{name}]")
    return Settings(**values, origins=origins)


def parse_minutes(value: object, key: str, origin: str) -> Minutes | None:
    """Checks a number of minutes from a configuration; the text `never` means no end.

    Raises:
        ConfigError: It is neither.
    """
    if value is None or value == "never":
        return None
    try:
        return check_minutes(value, key)
    except ConfigError as error:
        raise ConfigError(f'{origin}: {error} (in a file or the environment: "never")') from None


def _parse_state(value: object, origin: str) -> dict[str, Any]:
    state = dict(_typed(value, Mapping, "a table", "initial_state", origin))
    try:
        json_values.encode(state, "initial_state")
    except StateError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return state


def _parse_limit(value: object, key: str, origin: str) -> object:
    try:
        check_limit(value, key)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
    return value


def _parse_section(options: Mapping[str, object], name: str, origin: str) -> dict[str, object]:
    """Returns the options of a driver, which its store will check; a file has no other word for None than `never`."""
    for key in _LENGTHS:
        if key in options and parse_minutes(options[key], f"{name}.{key}", origin) is None:
            options = {**options, key: None}
    return dict(options)


def from_environment(keys: Iterable[str] = IN_ENVIRONMENT) -> Settings:
    """Reads the variables of the environment.

    Args:
        keys: Which settings to read.

    Raises:
        ConfigError: A setting is of the wrong type.
    """
    table: dict[str, object] = {}
    origins: dict[str, str] = {}
    for key in keys:
        variable = f"{_PREFIX}{key.upper()}"
        text = os.environ.get(variable, "")
        if text:
            table[key] = text
            origins[key] = variable
    if "expires_in" in table:
        text = str(table["expires_in"])
        try:
            number: object = float(text)
        except ValueError:
            number = text
        table["expires_in"] = parse_minutes(number, "expires_in", "BOTSESSION_EXPIRES_IN")
    return msgspec.structs.replace(parse_settings(table, "the environment"), origins=origins)


def find_table(path: str | os.PathLike[str] | None = None) -> tuple[Mapping[str, object], str]:
    """Returns what the configuration file holds, not yet checked, and the file; both empty where there is none.

    Args:
        path: See `load_settings`.

    Raises:
        ConfigError: A named file is missing, or a file cannot be read, or it cannot be told whether there is one.
    """
    named = os.fspath(path) if path is not None else os.environ.get("BOTSESSION_CONFIG", "")
    if named:
        file = Path(named)
        document = _read_toml(file)
        table = _tool_table(document, file) if file.name == "pyproject.toml" else document
        if table is None:
            raise ConfigError(f"{file} has no table [tool.botsession]")
        return table, str(file)
    try:
        here = Path.cwd()
    except OSError as error:
        raise ConfigError(
            f"a configuration file is looked for in the working directory, which is gone: {error}"
        ) from error
    for folder in (here, *here.parents):
        file = folder / "botsession.toml"
        if _is_there(file):
            return _read_toml(file), str(file)
        file = folder / "pyproject.toml"
        if _is_there(file) and (table := _tool_table(_read_toml(file), file)) is not None:
            return table, str(file)
    return {}, ""


def _is_there(file: Path) -> bool:
    """Tells whether something has that name, be it a directory or a link that leads nowhere: reading it tells what."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"it cannot be told whether there is a configuration file {file}: {error}") from error
    return True


def _read_toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no valid TOML: {error}") from error


def _tool_table(document: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    tool = document.get("tool", {})
    if not isinstance(tool, Mapping):
        return None
    if "botsession" not in tool:
        if "botsession" in document:
            raise ConfigError(f"{file}: nobody reads [botsession]; did you mean [tool.botsession]?")
        _refuse_misspelt(tool, file)
        return None
    return dict(_typed(tool["botsession"], Mapping, "a table", "tool.botsession", str(file)))


def _refuse_misspelt(tool: Mapping[str, Any], file: Path) -> None:
    """Refuses a table that is named nearly as ours, where ours is missing."""
    near = {name.lower(): name for name in tool if name[:3].lower() == "bot"}
    if near:
        from difflib import get_close_matches

        for name in get_close_matches("botsession", near, n=1, cutoff=0.85):
            raise ConfigError(f"{file}: nobody reads [tool.{near[name]}]; did you mean [tool.botsession]?")


def _typed(value: object, kind: type, wanted: str, key: str, origin: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{origin}: {key} must be {wanted}, not {type(value).__name__}")
    return value
