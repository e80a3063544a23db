from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import pytest
from redis import Redis

import servers
from botsession import open_store
from botsession.testing import StoreContract
from botsession_file import FileSessionStore
from botsession_file.names import place
from botsession_operations.mirror import MirrorSessionStore
from botsession_redis import RedisSessionStore

pytestmark = pytest.mark.once


def mirror(lead, dirname, redis, clock=None, **both):
    if clock is not None:
        both["clock"] = clock
    return MirrorSessionStore(FileSessionStore(dirname, **both), RedisSessionStore(**{**redis, **both}), lead=lead)


class MirrorSuite(StoreContract):
    """A mirror from files to Redis."""

    shared = True
    lead = "old"

    @classmethod
    def setup_class(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="botsession-mirror-"))

    @classmethod
    def teardown_class(cls):
        shutil.rmtree(cls.root)

    def options(self, namespace):
        return {
            "lead": self.lead,
            "dirname": str(self.root / namespace),
            "redis": {"url": servers.redis_url(), "key_prefix": f"{namespace}:"},
        }

    def make_store(self, clock, namespace, **options):
        return mirror(**{**self.options(namespace), "clock": clock, **options})

    def elsewhere(self, namespace):
        options = self.options(namespace)
        stores = {
            "mirror": {"old": "file", "new": "redis", "lead": self.lead},
            "file": {"dirname": options["dirname"]},
            "redis": options["redis"],
        }
        return functools.partial(open_store, {"driver": "mirror", "stores": stores})

    def unreachable(self, secret):
        return {"redis": {"url": f"redis://:{secret}@127.0.0.1:{servers.free_port()}", "timeout": 1}}


class TestMirrorLedByTheOld(MirrorSuite):
    async def corrupt(self, store, session_id):
        shard, name = place(session_id)
        path = store._old.dirname / shard / name
        path.write_bytes(path.read_bytes()[:-10])


class TestMirrorLedByTheNew(MirrorSuite):
    lead = "new"

    async def corrupt(self, store, session_id):
        with Redis.from_url(servers.redis_url()) as client:
            client.set(store._new._keys.session(session_id), b'{"version":"00')
