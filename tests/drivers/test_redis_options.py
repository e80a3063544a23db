"""The options and URLs of the Redis driver."""

from __future__ import annotations

import pytest
from redis.asyncio import SSLConnection

from botsession import (
    ConfigError,
    open_store,
)
from botsession_redis import RedisSessionStore


def test_a_url_takes_the_place_of_host_and_port():
    store = open_store(
        "redis", url="redis://one:7000/2", host="two", port=1, username="u", password="p", db=3, key_prefix="x:"
    )
    assert repr(store) == "RedisSessionStore(redis at one:7000/2, key_prefix='x:')"
    assert "two:1" in repr(open_store("redis", host="two", port=1))
    assert "localhost:6379," in repr(RedisSessionStore())


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("valkey://u:p@one:7000/2", "one:7000/2"),
        ("VALKEY://one", "one:6379"),
        ("valkeys://one:7000/2", "one:7000/2"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock/1"),
        ("unix://u:p@/run/redis.sock", "/run/redis.sock"),
        ("redis+unix:///run/redis.sock", "/run/redis.sock"),
    ],
)
def test_urls_of_valkey_and_of_sockets(url, where):
    for store in (
        open_store(url),
        open_store({"url": url, "stores": {"redis": {"host": "h"}}}),
        RedisSessionStore(url),
    ):
        assert repr(store) == f"RedisSessionStore(redis at {where}, key_prefix='botsession:')"
        assert issubclass(store._connection._source.kind, SSLConnection) == url.startswith("valkeys")


def test_names_of_drivers_without_a_url():
    assert "at /run/redis.sock," in repr(open_store("unix", unix_socket_path="/run/redis.sock"))
    assert "at h:6379," in repr(open_store("valkey", host="h"))
    assert issubclass(open_store("valkeys", host="h")._connection._source.kind, SSLConnection)
    with pytest.raises(ConfigError, match="unix_socket_path"):
        open_store("unix")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "redis://h", "host": "h"},
        {"url": "redis://h", "db": 0},
        {"unix_socket_path": "/s", "host": "h"},
        {"url": "http://:hunter2@h"},
        {"url": "redis://user:hunter/2@h:1"},
        {"url": "redis://user:hunter2@h:port"},
        {"url": "redis://user:hunter2@h/name"},
        {"url": "redis://user:hunter2@h?no_such=1"},
        {"url": "unix://"},
        {"url": "redis://[::1:7", "timeout": 1},
        {"timeout": 0},
        {"timeout": -1},
        {"max_connections": 0},
        {"db": -1},
        {"key_prefix": ""},
        {"expires_in": 0},
        {"client": object()},
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(ConfigError) as caught:
        RedisSessionStore(**options)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_are_not_shown():
    store = RedisSessionStore("redis://user:hunter2@localhost:6379/0")
    assert "hunter2" not in repr(store)
    assert "user" not in repr(store)
