"""Sessions in files: the driver `file` of botsession."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botsession import Clock, ConfigError, SessionStore, construct, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botsession_file.store import FileSessionStore

__all__ = ["FileSessionStore", "open_store"]


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock) -> SessionStore:
    """Return a `FileSessionStore`; a URL such as `file:///var/lib/bot` or `file://sessions` gives its `dirname`."""
    from botsession_file.store import FileSessionStore

    arguments = dict(options)
    url = arguments.pop("url", None)
    if isinstance(url, str) and (dirname := _dirname(url)):
        arguments["dirname"] = dirname
    elif isinstance(given := arguments.get("dirname"), os.PathLike):
        arguments["dirname"] = os.fspath(given)
    return construct(FileSessionStore, arguments, clock=clock)


def _dirname(url: str) -> str:
    scheme, _, path = url.partition("://")
    if scheme != "file":
        raise ConfigError(
            "a URL of the driver 'file' begins with file://",
            remedy="Write file:///an/absolute/directory or file://a/relative/one.",
        )
    if "?" in path or "#" in path:
        raise ConfigError("a file URL names a directory and nothing else", remedy="Write ? as %3F and # as %23 in it.")
    return unquote(path)


def __getattr__(name: str) -> object:
    if name == "FileSessionStore":
        from botsession_file.store import FileSessionStore

        return FileSessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
