"""Sessions in Redis or Valkey: the drivers `redis` and `valkey` of botsession, `rediss` and `valkeys` with TLS, and `unix`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botsession import Clock, ConfigError, SessionStore, construct, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botsession_redis.store import RedisSessionStore

__all__ = ["RedisSessionStore", "open_store"]

_OVERRIDDEN = frozenset({"host", "port", "username", "password", "db", "unix_socket_path", "tls"})


@hookimpl
def open_store(name: str, options: Mapping[str, object], clock: Clock) -> SessionStore:
    """Make a `RedisSessionStore`; a URL overrides all options that say where the server is."""
    from botsession_redis.store import RedisSessionStore

    if options.get("url") is not None:
        options = {key: value for key, value in options.items() if key not in _OVERRIDDEN}
    elif name in ("rediss", "valkeys"):
        options = {**options, "tls": True}
    elif name in ("unix", "redis+unix") and options.get("unix_socket_path") is None:
        raise ConfigError(
            f"the driver {name!r} needs the option 'unix_socket_path', or a URL",
            remedy=f"Set unix_socket_path, or a URL such as {name}:///run/redis.sock?db=0.",
        )
    return construct(RedisSessionStore, options, clock=clock)


def __getattr__(name: str) -> object:
    if name == "RedisSessionStore":
        from botsession_redis.store import RedisSessionStore

        return RedisSessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
