"""Discovery: from a driver's name to its plugin, through the entry points of installed packages.

An entry point of the group `botsession.drivers` names a driver; its value is a light module with the hook
`open_store`. One scan finds them all, on first use; only the driver that is asked for is loaded. The names in
`BOTSESSION_DISABLE_DRIVERS`, separated by commas, are never loaded. See the Python Packaging User Guide, "Entry points
specification", and pluggy's documentation for the mechanisms.
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

hookimpl: Final = pluggy.HookimplMarker("botsession")
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
    "mirror": "botsession-operations",
}
"""Which package to suggest for a name that is not installed; discovery itself knows no driver."""


class DriverSpec:
    """The hook of a driver."""

    @_hookspec(firstresult=True)
    def open_store(self, name: str, options: Mapping[str, object], clock: Clock, settings: Settings) -> SessionStore:
        """Makes a store that is not connected yet; it connects in its `init`.

        A driver may leave out parameters that it does not need. It imports its client in here, so that naming a driver
        is what loads it.

        Args:
            name: The name by which the driver was chosen; a driver may have several.
            options: Options by name, not yet checked; `botsession.configuration.options.construct` checks them. A URL by which the
                driver was chosen is the option `url`.
            clock: Tells the present moment in UTC.
            settings: The configuration that chose the driver; one that is made of other stores finds theirs in it.

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
        """Offers a driver of this process, without any packaging; it goes before an installed one.

        Args:
            name: The driver's name.
            plugin: An object (usually a module) with the hook `open_store`.

        Raises:
            DriverConflictError: This process has registered the name already.
            DriverLoadError: The plugin has no such hook, or the hook asks for what this core does not know.
        """
        if name in self._local:
            raise DriverConflictError(f"driver {name!r} is registered already")
        self._local[name] = _hook_of(plugin, lambda: f"the plugin registered as {name!r}")

    def names(self) -> list[str]:
        """Returns the names of all drivers, sorted; loads none of them."""
        return sorted({*self._scan(), *self._local})

    def entry_points(self, name: str) -> list[importlib_metadata.EntryPoint]:
        """Returns what installed packages offer under a name; more than one is a conflict."""
        return list(self._scan().get(name, ()))

    def aliases(self, name: str) -> list[str]:
        """Returns the other names of the same driver, such as `redis` for `rediss`."""
        values = {(point.value, _package(point)) for point in self._scan().get(name, ())}
        return sorted(
            other
            for other, points in self._scan().items()
            if other != name and any((point.value, _package(point)) in values for point in points)
        )

    def open_store(
        self, name: str, options: Mapping[str, object], clock: Clock, settings: Settings | None = None
    ) -> SessionStore:
        """Loads the named driver, and only that one, and has it make a store.

        Args:
            name: The driver's name.
            options: Options by name.
            clock: Tells the present moment in UTC.
            settings: The configuration that chose the driver.

        Returns:
            The store, not connected yet.

        Raises:
            DriverNotFoundError: No installed package offers the name.
            DriverConflictError: Two installed packages offer it.
            DriverLoadError: The driver does not load.
            ConfigError: An option is unknown, missing or of the wrong type.
        """
        hook = self._load(name)
        try:
            store = hook(name=name, options=options, clock=clock, settings=settings or Settings())
        except ImportError as error:  # a driver imports its client in the hook
            raise DriverLoadError(f"{self._whose(name)} does not load: {_missing(error)}{self._cure(name)}") from error
        if not isinstance(store, SessionStore):
            raise DriverLoadError(f"driver {name!r} returned {type(store).__name__}, which is no SessionStore")
        return store

    def refresh(self) -> None:
        """Forgets what was found, so that the next use sees packages installed meanwhile."""
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
            raise DriverNotFoundError(self._advice(name))
        if len(points) > 1:
            owners = " and ".join(sorted(_owner(point) for point in points))
            raise DriverConflictError(f"driver {name!r} is offered by {owners}; uninstall all but one")
        (point,) = points
        module = point.value.partition(":")[0]
        try:
            plugin = point.load()
        except Exception as error:
            reason = _missing(error)
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                reason = f"its module {module!r} is missing"
            raise DriverLoadError(f"{self._whose(name)} does not load: {reason}{self._cure(name)}") from error
        self._hooks[name] = _hook_of(plugin, lambda: f"driver {name!r} of {_owner(point)}")
        return self._hooks[name]

    def _whose(self, name: str) -> str:
        owners = (
            "" if name in self._local else "".join(f" of {_owner(point)}" for point in self._scan().get(name, ())[:1])
        )
        return f"driver {name!r}{owners}"

    def _cure(self, name: str) -> str:
        """Returns how to reinstall the package of a driver, where it is installed as one."""
        points = [] if name in self._local else self._scan().get(name, [])
        packages = [point.dist.name for point in points if point.dist is not None]
        return f"; reinstall it with: pip install --force-reinstall {packages[0]}" if packages else ""

    def is_known(self, name: str) -> bool:
        """Tells whether a name is that of a driver: an installed one, or one of a package that could be installed."""
        return name in _PACKAGES or name in self._local or name in self._scan()

    def suggestion(self, name: str) -> str:
        """Returns ` (did you mean 'x'?)` where a driver has nearly that name, else an empty text."""
        return suggestion(name, {*self.names(), *_PACKAGES})

    def _advice(self, name: str) -> str:
        names = self.names()
        package = _PACKAGES.get(name)
        close = "" if package else self.suggestion(name)
        if package:
            cure = f"install it with: pip install {package}"
        elif close:
            cure = "correct the name, or install the package that offers it"
        else:
            cure = "install the package that offers it"
        return f"no driver {name!r} is installed{close}; installed: {listed(names)}; {cure}"


def _hook_of(plugin: object, what: Callable[[], str]) -> pluggy.HookCaller:
    """Returns the plugin's hook, checked by pluggy, in a manager of its own: one driver never meets another.

    Args:
        plugin: The driver's module, or an object like one.
        what: Tells, where there is something to complain of, whose plugin it is; that reads the package's metadata.
    """
    manager = pluggy.PluginManager("botsession")
    manager.add_hookspecs(DriverSpec)
    try:
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        core = importlib_metadata.version("botsession-core")
        raise DriverLoadError(
            f"{what()} does not fit botsession-core {core}: {' '.join(str(error).split())}"
        ) from error
    if not manager.hook.open_store.get_hookimpls():
        raise DriverLoadError(f"{what()} has no hook open_store marked with botsession.hookimpl")
    return manager.hook.open_store


def _missing(error: Exception) -> str:
    """Returns why a driver did not load."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return f"{type(error).__name__}: {error}"
    if error.name.partition(".")[0] in sys.stdlib_module_names:
        return f"it does not run on this platform, {sys.platform}, whose Python lacks the module {error.name!r}"
    return f"it needs the module {error.name!r}, which is not installed"


def _package(point: importlib_metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def _owner(point: importlib_metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"


drivers: Final = Drivers()
"""The drivers of this process."""
