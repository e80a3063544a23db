from __future__ import annotations

import ast
import contextlib

from redis import Redis, asyncio

import servers
from botsession.testing import StoreContract
from botsession_redis import RedisSessionStore


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

    def unreachable(self, secret):
        return {"url": f"redis://:{secret}@127.0.0.1:{servers.free_port()}", "timeout": 1}
