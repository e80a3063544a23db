"""The constructor of a MongoDB store: URLs, options, clients of the caller."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from mongo_setups import run
from pymongo import MongoClient

import servers
from botsession import ConfigError, Session, open_store
from botsession_mongo import MongoSessionStore


@pytest.mark.parametrize(("query", "concern"), [("?w=1", {"w": 1}), ("?journal=true", {"w": "majority", "j": True})])
def test_the_url_decides_the_write_concern(collection, api, query, concern):
    async def body(store):
        assert store._connection.collection.write_concern.document == concern
        assert store._connection.collection.name == collection.name
        assert store._connection.collection.database.name == "drivers"
        await store.write("telegram:42", Session("telegram:42"))

    run(body, collection, api, url=f"{servers.mongo_url()}/drivers{query}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "redis://localhost"}, "begins with mongodb://"),
        ({"url": "mongodb://ann:s3/cret@localhost"}, "percent-encode"),
        ({"url": "mongodb://ann:s3@cret@localhost"}, "percent-encode"),
        ({"url": "mongodb://localhost/?nonsense=1"}, r"Unknown option.*nonsense"),
        ({"url": "mongodb://localhost/?w=0"}, "w=0"),
        ({"api": "sync"}, "'api'"),
        ({"timeout": 0}, "timeout"),
        ({"collection_name": ""}, "collection_name"),
        ({"client": 5}, "AsyncIOMotorClient"),
        ({"collection": "x"}, "collection_name"),
    ],
    ids=str,
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_store("mongo", **options)
    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3" not in str(caught.value.__cause__)


def test_a_synchronous_client_is_refused():
    with MongoClient(servers.mongo_url()) as client, pytest.raises(ConfigError, match="MongoClient"):
        MongoSessionStore(client=client)


def test_a_client_and_a_url_are_refused():
    with pytest.raises(ConfigError, match="not both"):
        open_store("mongodb://localhost", client=object())


@pytest.mark.parametrize("scheme", ["mongo", "mongodb", "mongodb+srv"])
def test_names_of_the_driver(scheme):
    store = open_store(f"{scheme}://ann:s3cret@db.example.com/shop?tls=true", collection_name="talks")
    shown = "MongoSessionStore('mongodb://db.example.com:27017', database='shop', collection_name='talks')"
    assert repr(store) == (shown if scheme != "mongodb+srv" else shown.replace(":27017", ""))


def test_opening_imports_the_client_only_when_it_is_needed():
    program = """
import sys, asyncio
import botsession, botsession_mongo
assert not {"pymongo", "bson", "motor"} & set(sys.modules)
store = botsession.open_store(sys.argv[1], api="pymongo", timeout=5)
async def main():
    await store.init()
    await store.close()
asyncio.run(main())
assert "pymongo" in sys.modules and "motor" not in sys.modules
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BOTSESSION")}
    subprocess.run([sys.executable, "-c", program, servers.mongo_url()], check=True, timeout=30, env=environment)
