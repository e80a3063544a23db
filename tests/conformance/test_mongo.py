from __future__ import annotations

import asyncio
import socket

import bson
from pymongo import MongoClient

import servers
from botsession.testing import StoreContract
from botsession_mongo import MongoSessionStore


class TestMongoWithMotor(StoreContract):
    store_type = MongoSessionStore
    shared = True
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
        }

    async def corrupt(self, store, session_id):
        await asyncio.to_thread(_corrupt, store._connection._name, session_id)

    def unreachable(self, secret):
        port = self.silent.getsockname()[1]
        url = f"mongodb://somebody:{secret}@127.0.0.1:{port}"
        return {"url": url, "timeout": 0.7, "api": self.api}


class TestMongoWithPyMongo(TestMongoWithMotor):
    api = "pymongo"


def _corrupt(collection_name, session_id):
    with MongoClient(servers.mongo_url()) as client:
        collection = client.conformance[collection_name]
        document = collection.find_one({"_id": session_id}) or {"_id": session_id}
        collection.replace_one({"_id": session_id}, {**document, "state": bson.ObjectId()}, upsert=True)
