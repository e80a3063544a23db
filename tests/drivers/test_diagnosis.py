"""Findings of the drivers on servers and directories that would lose sessions."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import NamedTuple

import pytest
from mongo_setups import keeps_filters
from pymongo import MongoClient
from redis import Redis

import servers
from botsession import Session, StoreError, StoreUnavailableError
from botsession_file import FileSessionStore
from botsession_file import diagnosis as file_diagnosis
from botsession_memory import MemorySessionStore
from botsession_mongo import MongoSessionStore
from botsession_mongo import diagnosis as mongo_diagnosis
from botsession_operations.doctor import examine_store
from botsession_redis import RedisSessionStore
from botsession_redis import diagnosis as redis_diagnosis


class Server(NamedTuple):
    url: str
    client: Redis


def diagnosed(store):
    async def main():
        await store.init()
        try:
            return await store.diagnose()
        finally:
            await store.close()

    return asyncio.run(main())


def of(findings, topic):
    """Return the worst finding on a topic."""
    order = ("ok", "unknown", "warning", "error")
    return max((each for each in findings if each.topic == topic), key=lambda each: order.index(each.level))


@pytest.fixture(scope="module")
def redis():
    """A Redis server for these tests only, since they change its settings."""
    with servers.redis_server("--appendonly", "no") as url, Redis.from_url(url, decode_responses=True) as client:
        yield Server(url, client)


def of_redis(redis, topic, **options):
    return of(diagnosed(RedisSessionStore(redis.url, **options)), topic)


@pytest.mark.parametrize(
    ("policy", "maxmemory", "expires_in", "level"),
    [
        ("noeviction", "100mb", 10, "ok"),
        ("allkeys-lru", "0", 10, "ok"),
        ("allkeys-lru", "100mb", 10, "warning"),
        ("volatile-ttl", "100mb", 10, "warning"),
        ("volatile-ttl", "100mb", None, "ok"),
        ("allkeys-random", "100mb", None, "warning"),
    ],
)
def test_redis_eviction(redis, policy, maxmemory, expires_in, level):
    redis.client.config_set("maxmemory", maxmemory)
    redis.client.config_set("maxmemory-policy", policy)
    finding = of_redis(redis, "eviction", expires_in=expires_in)
    assert finding.level == level
    assert policy in finding.message
    if level == "warning":
        assert "CONFIG SET maxmemory-policy noeviction" in finding.remedy


def test_redis_memory_that_is_nearly_full(redis):
    redis.client.config_set("maxmemory-policy", "noeviction")
    redis.client.config_set("maxmemory", redis.client.info("memory")["used_memory"] + 50_000)
    finding = of_redis(redis, "memory")
    assert finding.level == "warning"
    assert "writes are refused" in finding.message
    redis.client.config_set("maxmemory", "1gb")
    assert of_redis(redis, "memory").level == "ok"


@pytest.mark.parametrize(("expires_in", "words"), [(525_600, "for 365 days"), (None, "forever")])
def test_redis_long_lives_in_limited_memory(redis, expires_in, words):
    redis.client.config_set("maxmemory", "1gb")
    finding = of_redis(redis, "lifetime", expires_in=expires_in)
    assert finding.level == "warning"
    assert words in finding.message
    for short in ({"expires_in": 1440}, {"max_lifetime": 1440}):
        assert "lifetime" not in [each.topic for each in diagnosed(RedisSessionStore(redis.url, **short))]
    redis.client.config_set("maxmemory", "0")
    assert "lifetime" not in [each.topic for each in diagnosed(RedisSessionStore(redis.url))]


@pytest.mark.parametrize(
    ("settings", "level", "words"),
    [
        ({"appendonly": "no", "save": ""}, "warning", "all sessions are lost when the server restarts"),
        ({"appendonly": "no", "save": "3600 1 300 100"}, "warning", "up to 60 minutes"),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "ok", "appendfsync everysec"),
        ({"appendonly": "yes", "appendfsync": "no"}, "warning", "about 30 s"),
    ],
)
def test_redis_persistence(redis, settings, level, words):
    for name, value in settings.items():
        redis.client.config_set(name, value)
    finding = of_redis(redis, "persistence")
    assert finding.level == level
    assert words in finding.message
    redis.client.config_set("appendonly", "no")
    redis.client.config_set("save", "")


def test_redis_for_a_user_who_may_not_ask(redis):
    redis.client.execute_command(
        *"ACL SETUSER bot on >hunter2 ~* +@all -info -config -time".split()  # noqa: SIM905 - a command line
    )
    url = redis.url.replace("//", "//bot:hunter2@")
    findings = diagnosed(RedisSessionStore(url))
    assert [(each.level, each.topic) for each in findings] == [("unknown", "clock"), ("unknown", "settings")]
    assert "+info" in findings[1].remedy
    redis.client.execute_command("ACL", "SETUSER", "bot", "+info")
    finding = of(diagnosed(RedisSessionStore(url)), "persistence")
    assert finding.level == "unknown"
    assert "+config|get" in finding.remedy
    assert "hunter2" not in repr(findings)


def test_a_redis_replica(redis):
    with servers.redis_server("--replicaof", "127.0.0.1", redis.url.rpartition(":")[2]) as url:
        with Redis.from_url(url) as client:
            deadline = time.monotonic() + 20
            while client.info("replication")["master_link_status"] != "up":
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finding = of(diagnosed(RedisSessionStore(url)), "replication")
        assert finding.level == "error"
        assert "the primary" in finding.remedy
        assert "replicas connected: 1" in of_redis(redis, "replication").message
        assert "replicas copy the empty server" in of_redis(redis, "persistence").message


@pytest.mark.parametrize(
    ("about", "level", "words"),
    [
        ({"redis_version": "6.0.16"}, "error", "Redis 6.0.16 is too old"),
        ({"redis_version": "7.4.1"}, "ok", "Redis 7.4.1"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, "ok", "Valkey 8.1.0"),
        ({}, "ok", "unknown version"),
    ],
)
def test_redis_versions(about, level, words):
    finding = redis_diagnosis._version(about)
    assert finding.level == level
    assert words in finding.message


def test_a_redis_that_could_not_save():
    finding, *_ = redis_diagnosis._persistence({"rdb_last_bgsave_status": "err", "aof_enabled": 1}, {})
    assert finding.level == "error"


def test_a_redis_that_is_gone(redis):
    async def main():
        with servers.redis_server() as url:
            store = await RedisSessionStore(url).init()
        with pytest.raises(StoreUnavailableError):
            await store.diagnose()
        await store.close()

    asyncio.run(main())


@pytest.fixture
def mongo():
    """The name of a new collection."""
    name = f"doctor_{uuid.uuid4().hex}"
    yield name
    with MongoClient(servers.mongo_url()) as client:
        client["botsession"].drop_collection(name)


def of_mongo(name, topic, query="", **options):
    return of(diagnosed(MongoSessionStore(f"{servers.mongo_url()}/{query}", collection_name=name, **options)), topic)


@pytest.mark.parametrize("api", ["motor", pytest.param("pymongo", marks=pytest.mark.once)])
def test_mongo_write_concern(mongo, api):
    assert of_mongo(mongo, "write concern", api=api).level == "ok"
    with MongoClient(servers.mongo_url()) as client:
        is_alone = (
            len(client.admin.command("hello").get("hosts", ())) == 1
        )  # a replica set of one member, which is the majority
    finding = of_mongo(mongo, "write concern", "?w=1", api=api)
    assert finding.level == ("ok" if is_alone else "warning")
    assert is_alone or "leave w out of the URL" in finding.remedy


@pytest.mark.parametrize(
    ("wanted", "hello", "level"),
    [
        ("majority", {}, "ok"),
        (2, {"setName": "rs", "hosts": ["a", "b", "c"]}, "ok"),
        (2, {"setName": "rs", "hosts": ["a", "b", "c"], "passives": ["d"]}, "warning"),
        (1, {"setName": "rs", "hosts": ["a"]}, "ok"),
        (1, {}, "warning"),
        ("eu", {}, "ok"),
    ],
)
def test_mongo_write_concerns_and_members(wanted, hello, level):
    assert mongo_diagnosis._write_concern({"w": wanted}, hello).level == level


def test_mongo_without_its_ttl_index(mongo):
    async def main():
        store = await MongoSessionStore(servers.mongo_url(), collection_name=mongo).init()
        assert of(await store.diagnose(), "expiry").level == ("ok" if keeps_filters() else "warning")
        with MongoClient(servers.mongo_url()) as client:
            collection = client["botsession"][mongo]
            for name in set(collection.index_information()) - {"_id_"}:
                collection.drop_index(name)
        finding = of(await store.diagnose(), "expiry")
        await store.close()
        return finding

    finding = asyncio.run(main())
    assert finding.level == "warning"
    assert "no TTL index" in finding.message
    assert of_mongo(mongo, "expiry").level == ("ok" if keeps_filters() else "warning")


def test_mongo_with_a_ttl_index_that_reaches_other_documents(mongo):
    with MongoClient(servers.mongo_url()) as client:
        client["botsession"][mongo].create_index("expires_at", expireAfterSeconds=0)
    finding = of_mongo(mongo, "expiry")
    assert finding.level == "warning"
    assert "no filter" in finding.message
    assert "drop it" in finding.remedy


def test_mongo_with_another_index_in_the_place_of_its_own(mongo):
    with MongoClient(servers.mongo_url()) as client:
        client["botsession"][mongo].create_index("expires_at", expireAfterSeconds=60)
    found = []
    store = MongoSessionStore(servers.mongo_url(), collection_name=mongo)
    asyncio.run(examine_store(store, found.append))
    assert [each.level for each in found] == ["error"]
    assert "Drop it" in found[0].remedy


@pytest.mark.parametrize(
    ("concern", "options", "status", "level"),
    [
        ({}, {}, {"storageEngine": {"name": "wiredTiger", "persistent": True}}, "ok"),
        ({}, {}, {"storageEngine": {"name": "inMemory", "persistent": False}}, "warning"),
        ({}, {"parsed": {"storage": {"journal": {"enabled": False}}}}, {}, "warning"),
        ({"j": False}, {}, {}, "warning"),
        ({}, {}, {}, "unknown"),
    ],
)
def test_mongo_persistence(concern, options, status, level):
    assert mongo_diagnosis._persistence(concern, options, status).level == level


def test_mongo_expiry_is_switched_off():
    filtered = {"expireAfterSeconds": 0, "partialFilterExpression": {"botsession": "session"}}
    indexes = {"botsession_expiry": {"key": [("expires_at", 1)], **filtered}}
    assert mongo_diagnosis._expiry(indexes, {"ttlMonitorEnabled": False}).level == "warning"
    assert mongo_diagnosis._expiry(indexes, {}).level == "ok"


@pytest.mark.parametrize(
    ("stats", "level"),
    [
        ({}, "unknown"),
        ({"fsUsedSize": 99, "fsTotalSize": 100}, "warning"),
        ({"fsUsedSize": 9, "fsTotalSize": 100}, "ok"),
    ],
)
def test_mongo_space(stats, level):
    assert mongo_diagnosis._space(stats).level == level


def test_a_mongo_that_is_gone():
    async def main():
        with servers.mongo_server() as url:
            store = await MongoSessionStore(url, timeout=0.5).init()
        with pytest.raises(StoreUnavailableError):
            await store.diagnose()
        await store.close()

    asyncio.run(main())


@pytest.fixture
def directory(tmp_path):
    """The directory of a file store with one session."""

    async def main():
        store = await FileSessionStore(tmp_path / "sessions").init()
        await store.write("a:1", Session("a:1"))
        await store.close()

    asyncio.run(main())
    return tmp_path / "sessions"


def of_file(directory, topic):
    return of(diagnosed(FileSessionStore(directory)), topic)


def test_a_directory_that_is_as_it_should_be(directory):
    topics = [each.topic for each in diagnosed(FileSessionStore(directory))]
    assert topics == ["permissions", "expiry", "space", "file system"]
    assert of_file(directory, "permissions").level == "ok"


@pytest.mark.parametrize("what", ["directory", "subdirectory", "file"])
def test_a_directory_that_others_may_read(directory, what):
    (file,) = directory.glob("*/*.json")
    path = {"directory": directory, "subdirectory": file.parent, "file": file}[what]
    path.chmod(0o777)
    finding = of_file(directory, "permissions")
    assert finding.level == "warning"
    assert path.name in finding.message
    assert finding.remedy == f"chmod -R go= {directory}"


def test_a_file_that_this_user_may_not_read(directory, monkeypatch):
    monkeypatch.setattr(file_diagnosis.os, "access", lambda path, mode: not os.fspath(path).endswith(".json"))
    finding = of_file(directory, "permissions")
    assert finding.level == "error"
    assert "this user may not use" in finding.message
    assert "chown" in finding.remedy


def test_files_that_are_none_of_the_store(directory):
    (file,) = directory.glob("*/*.json")
    (directory / "notes.txt").touch()
    (file.parent / "a.bak").touch()
    for number in range(9):
        (directory / f"x{number}").mkdir()
    finding = of_file(directory, "foreign files")
    assert finding.level == "warning"
    assert "and 8 more" in finding.message


def test_what_killed_writers_left(directory):
    (file,) = directory.glob("*/*.json")
    left = file.parent / ".0123456789abcdef.tmp"
    left.touch(0o600)
    assert of_file(directory, "expiry").level == "ok"
    os.utime(left, (0, 0))
    finding = of_file(directory, "expiry")
    assert finding.level == "warning"
    assert finding.remedy == "botsession purge"


def test_unreadable_files_are_told_by_the_doctor(directory):
    (file,) = directory.glob("*/*.json")
    file.write_text("{")
    found = []

    async def main():
        store = FileSessionStore(directory)
        await examine_store(store, found.append)
        await store.close()

    asyncio.run(main())
    finding = of(found, "sessions")
    assert finding.level == "warning"
    assert "1 unreadable: 'a:1'" in finding.message


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("ext4", "ok"),
        ("nfs4", "warning"),
        ("fuse.sshfs", "warning"),
        ("overlay", "warning"),
        ("tmpfs", "warning"),
        (None, "unknown"),
    ],
)
def test_file_systems(tmp_path, monkeypatch, kind, level):
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        f"27 1 {number if kind else '0:0'} / /with\\040blank rw shared:1 - {kind} server:/dir rw\n"
    )
    monkeypatch.setattr(file_diagnosis, "_MOUNTS", mounts)
    assert file_diagnosis._file_system(tmp_path).level == level
    monkeypatch.setattr(file_diagnosis, "_MOUNTS", tmp_path / "missing")
    assert file_diagnosis._file_system(tmp_path).level == "unknown"


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(0.5, 0.5, "ok"), (0.0001, 0.5, "warning"), (0.5, 0.0001, "warning"), (0.5, None, "ok")],
)
def test_space(tmp_path, monkeypatch, free, inodes, level):
    blocks = 2**20
    disk = os.statvfs_result(
        (4096, 4096, blocks, 0, int(blocks * free), 10**6 if inodes else 0, 0, int(10**6 * (inodes or 0)), 0, 255)
    )
    monkeypatch.setattr(file_diagnosis.os, "statvfs", lambda path: disk)
    assert file_diagnosis._space(tmp_path).level == level


def test_memory_says_that_it_forgets():
    async def main():
        store = await MemorySessionStore(max_size=2).init()
        before = await store.diagnose()
        for number in range(5):
            await store.write(f"a:{number}", Session(f"a:{number}"))
        return before, await store.diagnose()

    before, after = asyncio.run(main())
    assert of(before, "durability").level == "warning"
    assert of(before, "eviction").level == "ok"
    assert of(after, "eviction").level == "warning"
    assert "3 sessions" in of(after, "eviction").message


def test_a_closed_store_tells_nothing():
    with pytest.raises(StoreError):
        asyncio.run(MemorySessionStore().diagnose())
