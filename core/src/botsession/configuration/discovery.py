"""Discovery: from a driver's name to its plugin, through the entry points of installed packages.

An entry point in the group `botsession.drivers` names a driver; its value is a light module with the hook `open_store`. One
scan, on first use, finds all drivers. Only the requested one is loaded, and never one of the comma-separated names in
`BOTSESSION_DISABLE_DRIVERS`. See "Entry points specification" in the Python Packaging User Guide, and pluggy's documentation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

import importlib_metadata
import pluggy

from botsession.configuration.options import listed, suggestion
from botsession.configuration.settings import Settings
from botsession.errors import DriverConflictError, DriverLoadError, DriverNotFoundError
from botsession.lifetime import Clock
from botsession.protocol import SessionStore

GROUP: Final = "botsession.drivers"

hookimpl = pluggy.HookimplMarker("botsession")
"""Marks a driver's implementation of the hook `open_store`."""

_hookspec = pluggy.HookspecMarker("botsession")

_PACKAGES: Final = {
    "memory": "botsession-memory",
    "file": "botsession-file",
    "redis": "botsession-redis",
    "rediss": "botsession-redis",
    "redis+unix": "botsession-redis",
    "unix": "botsession-redis",
    "valkey": "botsession-redis",
    "valkeys": "botsession-redis",
    "mongo": "botsession-mongo",
    "mongodb": "botsession-mongo",
    "mongodb+srv": "botsession-mongo",
}
"""The package to suggest for a name that is not installed. Discovery itself does not use this table."""


class DriverSpec:
    """The hook of a driver."""

    @_hookspec(firstresult=True)
    def open_store(self, name: str, options: Mapping[str, object], clock: Clock, settings: Settings) -> SessionStore:
        """Make a store that is not connected yet; its `init` connects it.

        A driver may omit parameters that it does not need. It imports its client in this hook, so that the client is loaded
        only if the driver is used.

        Args:
            name: The name by which the driver was chosen; a driver may have several.
            options: Unchecked options by name; `botsession.configuration.options.construct` checks them. A URL that chose the
                driver is the option `url`.
            clock: Returns the current time in UTC.
            settings: The configuration that chose the driver. A driver that wraps other stores finds their options here.

        Raises:
            ConfigError: An option is unknown, missing or of the wrong type.
        """
        raise NotImplementedError


class Drivers:
    """The installed drivers, by name."""

    def __init__(self) -> None:
        self._found: dict[str, list[importlib_metadata.EntryPoint]] | None = None
        self._hooks: dict[str, pluggy.HookCaller] = {}
        self._local: dict[str, pluggy.HookCaller] = {}

    def register(self, name: str, plugin: object) -> None:
        """Add a driver to this process without packaging; it takes precedence over an installed one.

        Args:
            name: The driver's name.
            plugin: An object (usually a module) with the hook `open_store`.

        Raises:
            DriverConflictError: The name is already registered.
            DriverLoadError: The plugin does not have the hook, or the hook has an unknown parameter.
        """
        if name in self._local:
            raise DriverConflictError(f"driver {name!r} is already registered")
        self._local[name] = _hook_of(plugin, lambda: f"the plugin registered as {name!r}")

    def names(self) -> list[str]:
        """Return the sorted names of all drivers, without loading any."""
        return sorted({*self._scan(), *self._local})

    def entry_points(self, name: str) -> list[importlib_metadata.EntryPoint]:
        """Return the entry points of a name; more than one is a conflict."""
        return list(self._scan().get(name, ()))

    def aliases(self, name: str) -> list[str]:
        """Return the other names of the same driver, such as `redis` for `rediss`."""
        values = {(point.value, _package(point)) for point in self._scan().get(name, ())}
        return sorted(
            other
            for other, points in self._scan().items()
            if other != name and any((point.value, _package(point)) in values for point in points)
        )

    def open_store(
        self, name: str, options: Mapping[str, object], clock: Clock, settings: Settings | None = None
    ) -> SessionStore:
        """Load only the named driver, and have it make a store.

        Args:
            name: The driver's name.
            options: Options by name.
            clock: Returns the current time in UTC.
            settings: The configuration that chose the driver.

        Returns:
            The store, not connected yet.

        Raises:
            DriverNotFoundError: No installed package provides the driver.
            DriverConflictError: Two installed packages provide it.
            DriverLoadError: The driver cannot be loaded.
            ConfigError: An option is unknown, missing or of the wrong type.
        """
        hook = self._load(name)
        try:
            store = hook(name=name, options=options, clock=clock, settings=settings or Settings())
        except ImportError as error:  # a driver imports its client in the hook
            raise self._load_error(name, error) from error
        if not isinstance(store, SessionStore):
            raise DriverLoadError(f"driver {name!r} returned {type(store).__name__}, which is not a SessionStore")
        return store

    def refresh(self) -> None:
        """Discard the result of the scan, so that the next use finds newly installed packages."""
        self._found = None
        self._hooks.clear()

    def _scan(self) -> dict[str, list[importlib_metadata.EntryPoint]]:
        if self._found is None:
            found: dict[str, list[importlib_metadata.EntryPoint]] = {}
            for point in importlib_metadata.entry_points(group=GROUP):
                found.setdefault(point.name, []).append(point)
            self._found = found
        return self._found

    def _load(self, name: str) -> pluggy.HookCaller:
        if name in os.environ.get("BOTSESSION_DISABLE_DRIVERS", "").replace(" ", "").split(","):
            raise DriverLoadError(f"driver {name!r} is disabled by BOTSESSION_DISABLE_DRIVERS")
        if (hook := self._local.get(name) or self._hooks.get(name)) is not None:
            return hook
        points = self._scan().get(name, [])
        if not points:
            raise self._not_found_error(name)
        if len(points) > 1:
            owners = " and ".join(sorted(_owner(point) for point in points))
            raise DriverConflictError(
                f"driver {name!r} is provided by {owners}", remedy="Uninstall all but one of them."
            )
        (point,) = points
        module = point.value.partition(":")[0]
        try:
            plugin = point.load()
        except Exception as error:
            raise self._load_error(name, error, module) from error
        self._hooks[name] = _hook_of(plugin, lambda: f"driver {name!r} of {_owner(point)}")
        return self._hooks[name]

    def is_known(self, name: str) -> bool:
        """Return whether a driver has this name, be it installed or in a known package."""
        return name in _PACKAGES or name in self._local or name in self._scan()

    def suggestion(self, name: str) -> str:
        """Return ` (did you mean 'x'?)` if a driver has a similar name, or an empty string."""
        return suggestion(name, {*self.names(), *_PACKAGES})

    def _load_error(self, name: str, error: Exception, module: str = "") -> DriverLoadError:
        """Return the error for a driver that could not be loaded; `module` is the driver's own module."""
        points = [] if name in self._local else self._scan().get(name, [])[:1]
        owner = "".join(f" of {_owner(point)}" for point in points)
        remedy = "".join(
            f"Reinstall it with: pip install --force-reinstall {point.dist.name}"
            for point in points
            if point.dist is not None
        )
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and error.name:
            reason = f"it needs the module {error.name!r}, which is not installed"
            if error.name == module:
                reason = f"its module {module!r} is missing"
            elif error.name.partition(".")[0] in sys.stdlib_module_names:
                reason = f"it does not support this platform, {sys.platform}: Python has no module {error.name!r} here"
                remedy = ""
        return DriverLoadError(f"driver {name!r}{owner} cannot be loaded: {reason}", remedy=remedy)

    def _not_found_error(self, name: str) -> DriverNotFoundError:
        package = _PACKAGES.get(name)
        close = "" if package else self.suggestion(name)
        if package:
            remedy = f"Install it with: pip install {package}"
        elif close:
            remedy = "Correct the name, or install the package that provides it."
        else:
            remedy = "Install the package that provides it."
        message = f"no driver {name!r} is installed{close}. Installed drivers: {listed(self.names())}"
        return DriverNotFoundError(message, remedy=remedy)


def _hook_of(plugin: object, what: Callable[[], str]) -> pluggy.HookCaller:
    """Return the plugin's hook, checked by pluggy in a manager of its own, which isolates drivers from each other.

    Args:
        plugin: The driver's module, or an object like one.
        what: Returns a description of the plugin for an error. It is a function because it reads the package's metadata.
    """
    manager = pluggy.PluginManager("botsession")
    manager.add_hookspecs(DriverSpec)
    try:
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        core = importlib_metadata.version("botsession-core")
        raise DriverLoadError(
            f"{what()} is not compatible with botsession-core {core}: {' '.join(str(error).split())}",
            remedy="Upgrade both packages.",
        ) from error
    if not manager.hook.open_store.get_hookimpls():
        raise DriverLoadError(
            f"{what()} has no hook open_store", remedy="Mark the function open_store with botsession.hookimpl."
        )
    return manager.hook.open_store


def _package(point: importlib_metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def _owner(point: importlib_metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"


drivers: Final = Drivers()
"""The drivers of this process."""
