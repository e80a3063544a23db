"""Sessions in an SQLite file: the driver `sqlite` of botsession."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botsession import Clock, ConfigError, SessionStore, construct, hookimpl

if TYPE_CHECKING:
    from botsession_sqlite.store import SqliteSessionStore

__all__ = ["SqliteSessionStore", "open_store"]

_SCHEME = "sqlite://"


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock) -> SessionStore:
    """Return a store that is not open yet.

    Args:
        options: The parameters of `SqliteSessionStore`; or `url`, which names the file and overrides `path`.
        clock: Returns the present moment, with a time zone.

    Raises:
        ConfigError: An option is unknown or of the wrong type, or the URL names no file.
        DriverLoadError: The SQLite of this Python is too old.
    """
    from botsession_sqlite.store import SqliteSessionStore

    given = dict(options)
    if "url" in given:
        given["path"] = _path(str(given.pop("url")))
    return construct(SqliteSessionStore, given, clock=clock)


def _path(url: str) -> str:
    """Return the file that a URL names: `sqlite:///absolute`, or `sqlite://relative` to the working directory."""
    path = url.removeprefix(_SCHEME)
    if path == url or not path:
        raise ConfigError("a URL of the driver sqlite is sqlite:///absolute/path or sqlite://relative/path")
    if "?" in path or "#" in path:
        raise ConfigError(
            "a URL of the driver sqlite names only a file",
            remedy="Put options into [stores.sqlite] or into arguments. Write `?` and `#` in a name as %3F and %23.",
        )
    return unquote(path)


def __getattr__(name: str) -> object:
    if name == "SqliteSessionStore":
        from botsession_sqlite.store import SqliteSessionStore

        return SqliteSessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
