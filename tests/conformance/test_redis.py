from __future__ import annotations

import ast
import contextlib
from urllib.parse import urlsplit

from redis import Redis, asyncio

import servers
from botsession.testing import StoreContract
from botsession_redis import RedisSessionStore
from botsession_redis.keys import MARK


class TestRedis(StoreContract):
    store_type = RedisSessionStore
    shared = True

    def options(self, namespace):
        return {"url": servers.redis_url(), "key_prefix": f"{namespace}:"}

    @contextlib.asynccontextmanager
    async def handed_in(self, namespace):
        async with asyncio.Redis.from_url(servers.redis_url()) as client:
            yield {"url": None, "client": client}

    async def corrupt(self, store, session_id):
        with Redis.from_url(servers.redis_url()) as client:
            client.set(store._keys.session(session_id), b'{"version":"00')

    async def quarantined(self, store, where):
        with Redis.from_url(servers.redis_url()) as client:
            return client.get(ast.literal_eval(where.removeprefix("the key ")))

    def address(self):
        url = urlsplit(servers.redis_url())
        return url.hostname, url.port or 6379

    def through(self, namespace, host, port):
        url = urlsplit(servers.redis_url())
        user = url.netloc.rpartition("@")[0]
        return {"url": url._replace(netloc=f"{user}@{host}:{port}".lstrip("@")).geturl(), "timeout": 0.5}

    async def footprint(self, store):
        """Return all keys except those of leases, which expire on their own."""
        prefix = store._keys.session("x")[:-1]
        with Redis.from_url(servers.redis_url()) as client:
            keys = list(client.scan_iter(prefix + b"*", count=1000))
            return [(key, client.dump(key)) for key in keys if MARK not in key or client.pttl(key) == -1]

    @contextlib.asynccontextmanager
    async def refusal(self, store):
        with Redis.from_url(servers.redis_url()) as client:
            client.config_set("min-replicas-to-write", 1)
            try:
                yield
            finally:
                client.config_set("min-replicas-to-write", 0)

    def unreachable(self, secret):
        return {"url": f"redis://:{secret}@127.0.0.1:{servers.free_port()}", "timeout": 1}
