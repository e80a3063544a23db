"""Common setup for the MongoDB driver's tests: its two clients, and an open store."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import uuid

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

import servers
from botsession_mongo import MongoSessionStore

CLIENTS = {"motor": AsyncIOMotorClient, "pymongo": AsyncMongoClient}


@functools.cache
def keeps_filters():
    """Return whether the server supports partial indexes. NX-27017 drops the filter and removes every indexed document."""
    with MongoClient(servers.mongo_url()) as client:
        probe = client.drivers[f"probe{uuid.uuid4().hex}"]
        probe.create_index("at", partialFilterExpression={"kind": "ours"})
        kept = any("partialFilterExpression" in index for index in probe.index_information().values())
        probe.drop()
    return kept


@contextlib.asynccontextmanager
async def opened(collection, api, **options):
    """Yield an open store on a collection."""
    given = {"url": f"{servers.mongo_url()}/drivers", "api": api, "collection_name": collection.name, **options}
    store = MongoSessionStore(**given)
    try:
        yield await store.init()
    finally:
        await store.close()


def run(test, collection, api, **options):
    """Run a test with an open store."""

    async def body():
        async with opened(collection, api, **options) as store:
            return await test(store)

    return asyncio.run(body())
