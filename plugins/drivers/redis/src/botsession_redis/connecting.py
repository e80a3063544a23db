"""From options to connections."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from botsession import ConfigError
from botsession_redis.packing import PACKING
from botsession_redis.pool import Pool

PoolMaker = Callable[[], Pool]

SCHEMES: Final = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+unix": "unix",
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
}
"""The names of URLs, each with the one that redis-py knows."""

_KEEPALIVE: Final[dict[str, Any]] = {"socket_keepalive": True}
_BAD_URL: Final = (
    "the redis URL cannot be used: {}; it looks like redis://user:password@localhost:6379/0, rediss://... for TLS, or "
    "unix:///path?db=0, with % escapes for / # ? @ : in user and password"
)


def pool_maker(url: str | None, where: dict[str, Any], *, timeout: float, max_connections: int) -> PoolMaker:
    """Returns a function that makes a pool of connections; checks what can be checked without connecting.

    Args:
        url: One of the `SCHEMES`.
        where: host, port, username, password, db, unix_socket_path and tls where there is no URL; `None` for not
            given.
        timeout: How long connecting may take, in seconds.
        max_connections: How many connections to open at most.

    Raises:
        ConfigError: The options contradict each other, or the URL cannot be used; the message shows no password.
    """
    common: dict[str, Any] = {
        "max_connections": max_connections,
        "protocol": 2,
        # The store bounds a whole operation and decides itself what may be sent twice.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    given = {key: value for key, value in where.items() if value is not None}
    if url is not None:
        if given:
            raise ConfigError(f"a redis URL says where the server is; leave out {', '.join(given)}")
        url = _checked_url(url)
        keepalive = {} if url.startswith("unix:") else _KEEPALIVE
        return _checked(partial(Pool.from_url, url, **common, **keepalive))
    path = given.pop("unix_socket_path", None)
    kind = SSLConnection if given.pop("tls", False) else Connection
    if path is None:
        return _checked(partial(Pool, connection_class=kind, **common, **_KEEPALIVE, **given))
    if "host" in given or "port" in given or kind is SSLConnection:
        raise ConfigError("redis is reached by unix_socket_path, or by host and port, perhaps with TLS; not by both")
    return _checked(partial(Pool, connection_class=UnixDomainSocketConnection, path=path, **common, **given))


def address(pool: Pool) -> str:
    """Returns where a pool connects to, without user and password."""
    options = pool.connection_kwargs
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{place}/{db}" if (db := options.get("db")) else place


def connections_of(client: Redis | RedisCluster) -> int:
    """Returns how many connections a client opens at most, to one node of a cluster."""
    if isinstance(client, RedisCluster):
        return int(client.connection_kwargs.get("max_connections", sys.maxsize))
    return int(getattr(client.connection_pool, "max_connections", sys.maxsize))


def _checked_url(url: str) -> str:
    """Returns the URL as redis-py knows it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(_BAD_URL.format("its address is malformed")) from None
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ConfigError(_BAD_URL.format("it begins with another scheme"))
    if scheme == "unix":
        if not parts.path:
            raise ConfigError(_BAD_URL.format("it names no socket"))
        if parts.netloc and not parts.netloc.endswith("@"):
            raise ConfigError(_BAD_URL.format("before the path there is something else than user and password"))
    elif not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ConfigError(_BAD_URL.format("after the address there is something else than the number of a database"))
    elif "@" in parts.query + parts.fragment:
        raise ConfigError(_BAD_URL.format("there is an @ after the address"))
    return scheme + url[len(parts.scheme) :]


def _checked(make: PoolMaker) -> PoolMaker:
    def maker() -> Pool:
        pool = make()
        pool.connection_class = PACKING[pool.connection_class]
        return pool

    try:
        pool = maker()
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError):
        # The client's own message may repeat a part of the password.
        raise ConfigError(
            _BAD_URL.format("the port is no number, or a setting behind ? is unknown to redis-py or has a wrong value")
        ) from None
    return maker
