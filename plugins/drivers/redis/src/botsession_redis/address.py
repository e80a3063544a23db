"""Where the server is: from a URL or options to the arguments of a connection."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from botsession import ConfigError

SCHEMES: Final = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+unix": "unix",
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
}
"""The schemes of URLs, each with the one that redis-py knows."""

_TCP: Final[dict[str, Any]] = {"host": "localhost", "port": 6379, "socket_keepalive": True}
_FORM: Final = (
    "It looks like redis://user:password@localhost:6379/0, rediss://... for TLS, or unix:///path?db=0, with % escapes for "
    "/ # ? @ : in user and password."
)


class Address(msgspec.Struct, frozen=True):
    """Where a server is, and how to connect to it.

    Attributes:
        kind: The class of its connections.
        options: The arguments of that class, among them `path`, or `host` and `port`.
        max_connections: How many connections to open at most.
    """

    kind: type[AbstractConnection]
    options: dict[str, Any]
    max_connections: int

    def __str__(self) -> str:
        options = self.options
        place = options.get("path") or f"{options['host']}:{options['port']}"
        return f"{place}/{db}" if (db := options.get("db")) else place


def find_address(url: str | None, where: dict[str, Any], *, timeout: float, max_connections: int) -> Address:
    """Return the address that a URL or the options name, checked as far as possible without connecting.

    Args:
        url: A URL with one of the `SCHEMES`.
        where: Without a URL: host, port, username, password, db, unix_socket_path and tls; `None` for what was not given.
        timeout: How long connecting may take, in seconds.
        max_connections: How many connections to open at most.

    Raises:
        ConfigError: The options contradict each other, or the URL cannot be used; the message shows no password.
    """
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "protocol": 2,
        # The store limits the whole operation, and decides what may be sent twice.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    given = {key: value for key, value in where.items() if value is not None}
    if url is not None:
        if given:
            raise ConfigError("a redis URL says where the server is", remedy=f"Leave out {', '.join(given)}.")
        url = _checked_url(url)
        return _checked(None, url, options if url.startswith("unix:") else options | _TCP)
    path = given.pop("unix_socket_path", None)
    kind = SSLConnection if given.pop("tls", False) else Connection
    if path is None:
        return _checked(kind, None, options | _TCP | given)
    if "host" in given or "port" in given or kind is SSLConnection:
        raise ConfigError(
            "redis is reached by unix_socket_path, or by host and port with or without tls, but not by both"
        )
    return _checked(UnixDomainSocketConnection, None, options | given | {"path": path})


def _checked_url(url: str) -> str:
    """Return the URL with a scheme that redis-py knows."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad_url("its address is malformed") from None
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        raise _bad_url("it has another scheme")
    if scheme == "unix":
        if not parts.path:
            raise _bad_url("it names no socket")
        if parts.netloc and not parts.netloc.endswith("@"):
            raise _bad_url("only user and password may precede the path")
    elif not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise _bad_url("only the number of a database may follow the address")
    elif "@" in parts.query + parts.fragment:
        raise _bad_url("there is an @ after the address")
    return scheme + url[len(parts.scheme) :]


def _checked(kind: type[AbstractConnection] | None, url: str | None, options: dict[str, Any]) -> Address:
    """Return the address, if redis-py accepts it."""
    try:
        if url is None:
            pool = ConnectionPool(connection_class=kind or Connection, **options)
        else:
            pool = ConnectionPool.from_url(url, **options)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError):
        # redis-py's own message may repeat a part of the password.
        reason = "the port is not a number, or redis-py does not know a setting after the ? or its value"
        raise _bad_url(reason) from None
    return Address(pool.connection_class, pool.connection_kwargs, pool.max_connections)


def _bad_url(reason: str) -> ConfigError:
    return ConfigError(f"the redis URL cannot be used: {reason}", remedy=_FORM)
