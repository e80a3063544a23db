"""Wrong clocks of this machine, as a driver sees them."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import time
import types
from typing import TYPE_CHECKING, Any

from botsession import lifetime
from botsession.testing.hooks import Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botsession.lifetime import Clock


NOT_OF_A_DRIVER = {"abc", "botsession", "builtins", "typing"}


@contextlib.contextmanager
def wrong_clocks(contract: Hooks, seconds: float) -> Iterator[Clock]:
    """Set the clocks that the driver's own modules use so many seconds ahead; yield the clock for its store.

    If the backend is a server, this includes the clock since boot, since its bots run on several machines.
    """
    classes = getattr(contract.store_type, "__mro__", (contract.store_type,))
    packages = {each.__module__.partition(".")[0] for each in classes} - NOT_OF_A_DRIVER
    wrong = _wrong(seconds, since_boot=type(contract).address is not Hooks.address)
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages and module is not None:
            for key, value in list(vars(module).items()):
                replacement = next((other for right, other in wrong if value is right), None)
                if replacement is not None:
                    changed.append((vars(module), key, value))
                    vars(module)[key] = replacement
    try:
        yield lambda: lifetime.utc_now() + dt.timedelta(seconds=seconds)
    finally:
        for names, key, value in changed:
            names[key] = value


def _wrong(seconds: float, *, since_boot: bool) -> list[tuple[object, object]]:
    """Return each clock that a module may have imported, with its wrong replacement."""
    ahead = dt.timedelta(seconds=seconds)

    class Type(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, dt.datetime)

    class WrongDatetime(dt.datetime, metaclass=Type):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.now(tz) + ahead

        @classmethod
        def utcnow(cls) -> Any:
            return dt.datetime.now(dt.UTC).replace(tzinfo=None) + ahead

    def shifted(clock: Callable[[], float], by: float) -> Callable[[], float]:
        return lambda: clock() + by

    names = ["time", "monotonic", "perf_counter"] if since_boot else ["time"]
    clocks: dict[str, Callable[[], float]] = {name: shifted(getattr(time, name), seconds) for name in names}
    clocks |= {f"{name}_ns": shifted(getattr(time, f"{name}_ns"), round(seconds) * 1_000_000_000) for name in names}
    time_module = types.SimpleNamespace(**{**vars(time), **clocks})
    datetime_module = types.SimpleNamespace(**{**vars(dt), "datetime": WrongDatetime})
    return [
        (time, time_module),
        (dt, datetime_module),
        (dt.datetime, WrongDatetime),
        (lifetime.utc_now, lambda: lifetime.utc_now() + ahead),
        *((getattr(time, name), clock) for name, clock in clocks.items()),
    ]
