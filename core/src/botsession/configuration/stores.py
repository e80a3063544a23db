"""From a name, a URL or a configuration to a store that is not connected yet."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping

from botsession.configuration.discovery import drivers
from botsession.configuration.options import construct
from botsession.configuration.settings import UNSET, Settings, Unset
from botsession.configuration.sources import Source, find_settings
from botsession.errors import ConfigError, DriverLoadError, DriverNotFoundError
from botsession.lifetime import Clock, Minutes, utc_now
from botsession.protocol import SessionStore

DEFAULT_DRIVER = "memory"

_CORE_OPTIONS = ("expires_in", "max_lifetime")
"""Options that `Sessions` itself provides for a class without them."""


def open_store(
    source: Source = None,
    *,
    expires_in: Minutes | Unset | None = UNSET,
    max_lifetime: Minutes | Unset | None = UNSET,
    clock: Clock = utc_now,
    **options: object,
) -> SessionStore:
    """Make a store from a name, a URL or a configuration; `await store.init()` connects it.

    Args:
        source: A driver's name (`redis`), a URL (`redis://localhost:6379/0`), the path of a class (`mybot.stores:MyStore`), or
            a mapping with the keys of `botsession.toml`. By default, the configuration file and the environment decide, or
            else it is `memory`.
        expires_in: Minutes since the last write after which a session ends; `None` means never.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the current time, as a `datetime` with a time zone.
        **options: Options of the driver; they override those of the configuration.

    Raises:
        ConfigError: A setting or an option is unknown, missing or of the wrong type.
        DriverError: The driver is not installed, is installed twice, or cannot be loaded.
    """
    settings = find_settings(source, expires_in=expires_in, max_lifetime=max_lifetime)
    return open_from(settings, clock=clock, **options)


def open_from(settings: Settings, *, clock: Clock = utc_now, **options: object) -> SessionStore:
    """Make the store that settings describe; see `open_store`."""
    for key in ("driver", "url"):
        if getattr(settings, key) == "":
            raise ConfigError(f"{settings.origins.get(key, key)}: {key} is empty", remedy="Omit it to use the default.")
    check_sections(settings)
    driver = _check_driver(settings)
    given: dict[str, object] = {}
    if settings.url:
        scheme, separator, rest = settings.url.partition("://")
        if not scheme or not separator:
            origin = settings.origins.get("url", "url")
            raise ConfigError(f"{origin}: a URL starts with a driver's name and ://")
        driver = driver or scheme.lower()
        given["url"] = f"{scheme.lower()}://{rest}"
    for key in _CORE_OPTIONS:
        if (value := getattr(settings, key)) is not UNSET:
            given[key] = value
    if ":" in driver:
        return _open_class(driver, {**settings.stores.get(driver, {}), **given, **options}, clock)
    return _open_driver(driver or DEFAULT_DRIVER, given, options, clock, settings)


def check_sections(settings: Settings) -> None:
    """Refuse a section that no driver reads.

    Raises:
        ConfigError: A section's name is neither `module:Class` nor the name of a driver, installed or not.
    """
    for name in settings.stores:
        if ":" in name or drivers.is_known(name):
            continue
        where = next((origin for key, origin in settings.origins.items() if key.startswith(f"stores.{name}.")), "")
        where = where or f"the configuration [stores.{name}]"
        raise ConfigError(
            f"{where}: nothing reads this section because there is no driver {name!r}{drivers.suggestion(name)}",
            remedy="Correct its name, remove it, or install the driver's package.",
        )


def _check_driver(settings: Settings) -> str:
    """Return the driver's name in the settings, or an empty string."""
    driver = settings.driver or ""
    origin = settings.origins.get("driver", "driver")
    if "://" in driver:
        raise ConfigError(f"{origin}: driver must be a name, not a URL", remedy="Set the URL as url.")
    if "/" in driver or "@" in driver:
        raise ConfigError(
            f"{origin}: driver is neither a name such as redis nor module:Class (the value is not shown because it may "
            "contain a password)",
            remedy="If it is meant to be a URL, write :// after the driver's name.",
        )
    return driver


def _open_driver(
    driver: str, given: Mapping[str, object], options: Mapping[str, object], clock: Clock, settings: Settings
) -> SessionStore:
    """Have a driver make a store; an error that names an option gets the option's origin."""
    section = _section(settings, driver)
    try:
        return drivers.open_store(driver, {**section, **given, **options}, clock, settings)
    except ConfigError as error:
        named = re.search(r"option '(\w+)'", error.message)
        if named is None or named[1] in options:
            raise
        keys = (named[1], *(f"stores.{name}.{named[1]}" for name in (driver, *drivers.aliases(driver))))
        origin = next((settings.origins[key] for key in keys if key in settings.origins), "")
        if not origin:
            raise
        raise ConfigError(f"{origin}: {error.message}", remedy=error.remedy) from error


def _section(settings: Settings, driver: str) -> Mapping[str, object]:
    """Return the options of a driver, whose section may have any of the driver's names."""
    if not settings.stores or driver in settings.stores:
        return settings.stores.get(driver, {})
    sections = [alias for alias in drivers.aliases(driver) if alias in settings.stores]
    if len(sections) > 1:
        raise ConfigError(
            f"driver {driver!r} has several sections: {', '.join(f'stores.{name}' for name in sections)}",
            remedy="Merge them into one.",
        )
    return settings.stores[sections[0]] if sections else {}


def _open_class(path: str, options: Mapping[str, object], clock: Clock) -> SessionStore:
    store_type = _import_class(path)
    parameters = inspect.signature(store_type).parameters
    accepted = {key: value for key, value in options.items() if key not in _CORE_OPTIONS or key in parameters}
    store = construct(store_type, accepted, clock=clock)
    if not isinstance(store, SessionStore):
        raise DriverLoadError(
            f"driver {path!r} is not a session store", remedy="It needs the methods init, read, write and destroy."
        )
    return store


def _import_class(path: str) -> type[object]:
    module_name, _, class_name = path.partition(":")
    try:
        found: object = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise DriverNotFoundError(
                f"driver {path!r}: there is no module {error.name!r} on the import path",
                remedy=f"A URL starts with {module_name}://." if module_name in drivers.names() else "",
            ) from error
        raise DriverLoadError(f"driver {path!r} cannot be loaded: it needs the module {error.name!r}") from error
    except AttributeError as error:
        raise DriverNotFoundError(f"driver {path!r}: module {module_name!r} has no {class_name!r}") from error
    except Exception as error:
        raise DriverLoadError(f"driver {path!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not inspect.isclass(found):
        raise DriverLoadError(f"driver {path!r} is not a class")
    return found
