"""Sources of settings: a file, overridden by the environment, overridden by arguments.

The file is `botsession.toml`, or else the table `[tool.botsession]` of `pyproject.toml`, in the working directory or the
nearest directory above it. The environment variables are `BOTSESSION_CONFIG`, `BOTSESSION_DRIVER`, `BOTSESSION_URL`,
`BOTSESSION_EXPIRES_IN` and `BOTSESSION_DISABLE_DRIVERS`. Names that start with `BOTSESSION_TEST_` are reserved for tests.
Any other name that starts with `BOTSESSION_` is an error.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from botsession.configuration.options import listed, suggestion
from botsession.configuration.settings import (
    KEYS,
    UNSET,
    Settings,
    Unset,
    check_type,
    parse_minutes,
    parse_settings,
)
from botsession.errors import ConfigError
from botsession.lifetime import Minutes, check_minutes

Source = str | Mapping[str, object] | Settings | None
"""A driver's name, a URL, `module:Class`, a configuration as a mapping or as settings, or nothing."""

ENVIRONMENT_KEYS = ("driver", "url", "expires_in")
"""The settings that an environment variable can set."""

_PREFIX = "BOTSESSION_"
_TEST_PREFIX = "BOTSESSION_TEST_"
_VARIABLES = tuple(f"{_PREFIX}{name.upper()}" for name in ("config", *ENVIRONMENT_KEYS, "disable_drivers"))


def find_settings(
    source: Source = None,
    *,
    expires_in: Minutes | Unset | None = UNSET,
    max_lifetime: Minutes | Unset | None = UNSET,
    config: str | os.PathLike[str] | None = None,
) -> Settings:
    """Return the settings in effect: arguments override the environment, which overrides the file.

    Args:
        source: A mapping or settings replace the file and the environment. A name or a URL overrides their driver and URL.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        config: The path of the file; see `load_settings`.

    Raises:
        ConfigError: A setting is unknown or of the wrong type, or `config` is given although no file is read.
    """
    if isinstance(source, Mapping | Settings):
        if config is not None:
            raise ConfigError("a configuration was passed directly, so the configuration file would not be read")
        found = source if isinstance(source, Settings) else parse_settings(source, "the given configuration")
    else:
        found = load_settings(config)
    lifetimes = {"expires_in": expires_in, "max_lifetime": max_lifetime}
    arguments: dict[str, Any] = {
        key: value if value is UNSET else check_minutes(value, key) for key, value in lifetimes.items()
    }
    if isinstance(source, str):
        arguments["url" if "://" in source else "driver"] = source
    elif inspect.isclass(source):
        raise ConfigError(
            f"{source.__qualname__} is a class, not a store", remedy="Pass an instance, or its path as 'module:Class'."
        )
    elif source is not None and not isinstance(source, Mapping | Settings):
        raise ConfigError(
            f"a store cannot be made from {type(source).__name__}",
            remedy="Pass a driver's name, a URL, a mapping, or an object with the methods init, read, write and destroy.",
        )
    origins = {key: "an argument" for key, value in arguments.items() if value is not UNSET}
    return Settings(**arguments, origins=origins).over(found)


def load_settings(path: str | os.PathLike[str] | None = None) -> Settings:
    """Read the configuration file and the environment.

    Args:
        path: The file. By default `BOTSESSION_CONFIG` names it, or else it is searched for from the working directory
            upwards.

    Returns:
        The settings found; all unset if there is neither a file nor a variable.

    Raises:
        ConfigError: A named file is missing, a file cannot be read, a setting is unknown or of the wrong type, or an
            environment variable that starts with `BOTSESSION_` is unknown.
    """
    for error in unknown_variables():
        raise error
    return from_environment().over(parse_settings(*find_table(path)))


def unknown_variables() -> Iterator[ConfigError]:
    """Yield one error for each environment variable with our prefix that nothing reads."""
    for variable in sorted(os.environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_TEST_PREFIX) or variable in _VARIABLES:
            continue
        if os.environ[variable]:
            key = variable.removeprefix(_PREFIX).lower()
            if key in KEYS:
                close, remedy = "", f"Set {key} in the configuration file or as an argument."
            else:
                close, remedy = suggestion(variable, _VARIABLES), f"The variables are {listed(_VARIABLES)}."
            yield ConfigError(f"the environment: unknown variable {variable}{close}", remedy=remedy)


def from_environment(keys: Iterable[str] = ENVIRONMENT_KEYS) -> Settings:
    """Read environment variables.

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
    """Return the unchecked content of the configuration file, and its path; both empty if there is no file.

    Args:
        path: See `load_settings`.

    Raises:
        ConfigError: A named file is missing, or a file or its directory cannot be read.
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
            f"cannot search for a configuration file: the working directory does not exist ({error})"
        ) from error
    for folder in (here, *here.parents):
        file = folder / "botsession.toml"
        if _exists(file):
            return _read_toml(file), str(file)
        file = folder / "pyproject.toml"
        if _exists(file) and (table := _tool_table(_read_toml(file), file)) is not None:
            return table, str(file)
    return {}, ""


def _exists(file: Path) -> bool:
    """Return whether anything has that name, even a directory or a dangling link: reading it will give the error."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot determine whether the configuration file {file} exists: {error}") from error
    return True


def _read_toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"the configuration file {file} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _tool_table(document: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    tool = document.get("tool", {})
    if not isinstance(tool, Mapping):
        return None
    if "botsession" in tool:
        return dict(check_type(tool["botsession"], Mapping, "a table", "tool.botsession", str(file)))
    if "botsession" in document:
        raise _misplaced(file, "botsession")
    _check_misspelt(tool, file)
    return None


def _check_misspelt(tool: Mapping[str, Any], file: Path) -> None:
    """Refuse a table with nearly our name if ours is missing."""
    near = {name.lower(): name for name in tool if name[:3].lower() == "bot"}
    if near:
        from difflib import get_close_matches

        for name in get_close_matches("botsession", near, n=1, cutoff=0.85):
            raise _misplaced(file, f"tool.{near[name]}")


def _misplaced(file: Path, table: str) -> ConfigError:
    return ConfigError(f"{file}: nothing reads [{table}]", remedy="Did you mean [tool.botsession]?")
