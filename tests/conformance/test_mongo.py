from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from urllib.parse import urlsplit

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from motor import motor_asyncio
from pymongo import AsyncMongoClient, MongoClient

import servers
from botsession.testing import StoreContract
from botsession_mongo import MongoSessionStore
from botsession_mongo.documents import MARK


class TestMongoWithMotor(StoreContract):
    store_type = MongoSessionStore
    shared = True
    large = 210 if servers.mongo_is_secantusdb() else 1_050
    api = "motor"

    @classmethod
    def setup_class(cls):
        cls.silent = socket.create_server(("127.0.0.1", 0), backlog=128)

    @classmethod
    def teardown_class(cls):
        cls.silent.close()

    def options(self, namespace):
        return {
            "url": f"{servers.mongo_url()}/conformance",
            "collection_name": namespace.replace("-", "_"),
            "api": self.api,
            "timeout": 20,  # the server may be a Python program on a busy machine
        }

    @contextlib.asynccontextmanager
    async def handed_in(self, namespace):
        client = motor_asyncio.AsyncIOMotorClient(f"{servers.mongo_url()}/conformance")
        yield {"url": None, "client": client}
        client.close()

    async def corrupt(self, store, session_id):
        await asyncio.to_thread(_corrupt, store._connection._name, session_id)

    async def quarantined(self, store, where):
        return await asyncio.to_thread(_quarantined, where)

    def address(self):
        return _address(servers.mongo_url())

    def through(self, namespace, host, port):
        url = urlsplit(servers.mongo_url())
        user = url.netloc.rpartition("@")[0]
        options = "directConnection=true" + "&retryWrites=false" * servers.mongo_is_secantusdb()
        return {
            "url": f"mongodb://{f'{user}@{host}:{port}'.lstrip('@')}/conformance?{options}",
            "timeout": 1,
        }

    async def footprint(self, store):
        return await asyncio.to_thread(_footprint, store._connection._name)

    def unreachable(self, secret):
        port = self.silent.getsockname()[1]
        url = f"mongodb://somebody:{secret}@127.0.0.1:{port}"
        return {"url": url, "timeout": 0.7, "api": self.api}


@pytest.mark.once
class TestMongoWithPyMongo(TestMongoWithMotor):
    api = "pymongo"

    @contextlib.asynccontextmanager
    async def handed_in(self, namespace):
        async with AsyncMongoClient(f"{servers.mongo_url()}/conformance") as client:
            yield {"url": None, "client": client}


def _address(url):
    server = urlsplit(url)
    return server.hostname, server.port or 27017


def _footprint(collection_name):
    """Return all sessions and indexes, without lease-only documents, which the TTL index removes."""
    with MongoClient(servers.mongo_url(), document_class=RawBSONDocument) as client:
        names = [name for name in client.conformance.list_collection_names() if name.startswith(collection_name)]
        documents = [each.raw for name in names for each in client.conformance[name].find() if "version" in each]
        return [*names, *documents, *(str(client.conformance[name].index_information()) for name in names)]


def _corrupt(collection_name, session_id):
    with MongoClient(servers.mongo_url()) as client:
        collection = client.conformance[collection_name]
        document = collection.find_one({"_id": session_id}) or {"_id": session_id, **MARK}
        collection.replace_one({"_id": session_id}, {**document, "state": bson.ObjectId()}, upsert=True)


def _quarantined(where):
    key, collection_name = re.fullmatch(r"document ObjectId\('(\w+)'\) of the collection (\w+)", where).groups()
    with MongoClient(servers.mongo_url(), document_class=RawBSONDocument) as client:
        found = client.conformance[collection_name].find_one({"_id": bson.ObjectId(key)})
        return bytes(found["document"].raw)
