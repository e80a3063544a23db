"""From a name, a URL or a configuration to a store that is not connected yet."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

from botsession.configuration.discovery import drivers
from botsession.configuration.options import construct
from botsession.configuration.settings import (
    UNSET,
    Settings,
    Unset,
    load_settings,
    parse_settings,
)
from botsession.errors import ConfigError, DriverLoadError, DriverNotFoundError
from botsession.lifetime import (
    Clock,
    Minutes,
    check_minutes,
    utc_now,
)
from botsession.protocol import SessionStore

DEFAULT_DRIVER = "memory"

Source = str | Mapping[str, object] | Settings | None
"""A driver's name, a URL, `module:Class`, a configuration as a mapping or as settings, or nothing."""


def open_store(
    source: Source = None,
    *,
    expires_in: Minutes | Unset | None = UNSET,
    max_lifetime: Minutes | Unset | None = UNSET,
    clock: Clock = utc_now,
    **options: object,
) -> SessionStore:
    """Makes a store from a name, a URL or a configuration; `await store.init()` connects it.

    Args:
        source: A driver's name (`redis`), a URL (`redis://localhost:6379/0`), the path of a class
            (`mybot.stores:MyStore`), a mapping with the keys of `botsession.toml`, or nothing: then the configuration
            file and the environment say, and else it is `memory`.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment, as a `datetime` with a time zone.
        **options: Options of the driver; they go before those of the configuration.

    Raises:
        ConfigError: A setting or an option is unknown, missing or of the wrong type.
        DriverError: The driver is not installed, installed twice, or does not load.
    """
    settings = find_settings(source, expires_in=expires_in, max_lifetime=max_lifetime)
    return open_from(settings, clock=clock, **options)


def find_settings(
    source: Source = None,
    *,
    expires_in: Minutes | Unset | None = UNSET,
    max_lifetime: Minutes | Unset | None = UNSET,
    config: str | os.PathLike[str] | None = None,
) -> Settings:
    """Works out which settings hold: arguments before the environment before the file.

    Args:
        source: A mapping or settings take the place of file and environment; a name or a URL that of their driver and
            URL.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        config: The path of the file; see `load_settings`.

    Raises:
        ConfigError: A setting is unknown or of the wrong type, or a file is named although none is read.
    """
    whole = isinstance(source, Mapping | Settings)
    if whole and config is not None:
        raise ConfigError("a whole configuration was given, which takes the place of a configuration file")
    if isinstance(source, Settings):
        found = source
    else:
        found = (
            parse_settings(source, "the given configuration") if isinstance(source, Mapping) else load_settings(config)
        )
    lengths = {"expires_in": expires_in, "max_lifetime": max_lifetime}
    arguments: dict[str, Any] = {
        key: value if value is UNSET else check_minutes(value, key) for key, value in lengths.items()
    }
    if isinstance(source, str):
        arguments["url" if "://" in source else "driver"] = source
    elif inspect.isclass(source):
        raise ConfigError(f"{source.__qualname__} is a class; give an instance of it, or its path as 'module:Class'")
    elif source is not None and not whole:
        raise ConfigError(
            "a store is chosen by a driver's name, a URL, a mapping, or is an object with init, read, write and "
            f"destroy; {type(source).__name__} is none of these"
        )
    origins = {key: "an argument" for key, value in arguments.items() if value is not UNSET}
    return Settings(**arguments, origins=origins).over(found)


def open_from(settings: Settings, *, clock: Clock = utc_now, **options: object) -> SessionStore:
    """Makes the store that settings describe; see `open_store`."""
    for key in ("driver", "url"):
        if getattr(settings, key) == "":
            raise ConfigError(f"{settings.origins.get(key, key)}: {key} is empty; leave it out for the default")
    check_sections(settings)
    driver = settings.driver or DEFAULT_DRIVER
    given: dict[str, object] = {}
    if settings.url:
        scheme, separator, rest = settings.url.partition("://")
        if not scheme or not separator:
            raise ConfigError(f"{settings.origins.get('url', 'url')}: a URL begins with a driver's name and ://")
        driver = settings.driver or scheme.lower()
        given["url"] = f"{scheme.lower()}://{rest}"
    for key in ("expires_in", "max_lifetime"):
        if (value := getattr(settings, key)) is not UNSET:
            given[key] = value
    if "://" in driver:
        raise ConfigError(f"{settings.origins.get('driver', 'driver')}: driver is a name; give the URL as url")
    if "/" in driver or "@" in driver:
        raise ConfigError(
            f"{settings.origins.get('driver', 'driver')}: driver is a name such as redis, or module:Class; a URL has :// in "
            "it; what was given is neither, and is not repeated here since it may hold a password"
        )
    if ":" in driver:
        return _open_class(driver, {**settings.stores.get(driver, {}), **given, **options}, clock)
    return _open_driver(driver, given, options, clock, settings)


def check_sections(settings: Settings) -> None:
    """Refuses a section that no driver reads.

    Raises:
        ConfigError: A section's name is neither that of a driver, installed or not, nor `module:Class`.
    """
    for name in settings.stores:
        if ":" in name or drivers.is_known(name):
            continue
        where = next((origin for key, origin in settings.origins.items() if key.startswith(f"stores.{name}.")), "")
        where = where or f"the configuration [stores.{name}]"
        raise ConfigError(
            f"{where}: there is no driver {name!r}{drivers.suggestion(name)}, so nobody reads this section; correct its name, "
            "remove it, or install the driver's package"
        )


def _open_driver(
    driver: str, given: Mapping[str, object], options: Mapping[str, object], clock: Clock, settings: Settings
) -> SessionStore:
    """Has a driver make a store; an error that names an option says where it was found."""
    section = _section(settings, driver)
    try:
        return drivers.open_store(driver, {**section, **given, **options}, clock, settings)
    except ConfigError as error:
        named = re.search(r"option '(\w+)'", str(error))
        if named is None or named[1] in options:
            raise
        keys = (named[1], *(f"stores.{name}.{named[1]}" for name in (driver, *drivers.aliases(driver))))
        origin = next((settings.origins[key] for key in keys if key in settings.origins), "")
        if not origin:
            raise
        raise ConfigError(f"{origin}: {error}") from error


def _section(settings: Settings, driver: str) -> Mapping[str, object]:
    """Returns the options of a driver, which its section may hold under another of its names."""
    if not settings.stores or driver in settings.stores:
        return settings.stores.get(driver, {})
    sections = [alias for alias in drivers.aliases(driver) if alias in settings.stores]
    if len(sections) > 1:
        raise ConfigError(f"driver {driver!r} has several sections: {', '.join(f'stores.{name}' for name in sections)}")
    return settings.stores[sections[0]] if sections else {}


def _open_class(path: str, options: Mapping[str, object], clock: Clock) -> SessionStore:
    module_name, _, class_name = path.partition(":")
    try:
        store_type = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            hint = f"; a URL begins with {module_name}://" if module_name in drivers.names() else ""
            raise DriverNotFoundError(
                f"driver {path!r}: there is no module {error.name!r} on the import path{hint}"
            ) from error
        raise DriverLoadError(f"driver {path!r} does not load: it needs the module {error.name!r}") from error
    except AttributeError as error:
        raise DriverNotFoundError(f"driver {path!r}: module {module_name!r} has no {class_name!r}") from error
    except Exception as error:
        raise DriverLoadError(f"driver {path!r} does not load: {type(error).__name__}: {error}") from error
    if not inspect.isclass(store_type):
        raise DriverLoadError(f"driver {path!r} is no class")
    parameters = inspect.signature(store_type).parameters
    kept = {key: value for key, value in options.items() if key not in _CORE_OPTIONS or key in parameters}
    store = construct(store_type, kept, clock=clock)
    if not isinstance(store, SessionStore):
        raise DriverLoadError(
            f"driver {path!r} is no session store: it needs the methods init, read, write and destroy"
        )
    return store


_CORE_OPTIONS = ("expires_in", "max_lifetime")
"""What `Sessions` does by itself for a class that does not."""
