from __future__ import annotations

import asyncio

import bson
from pymongo import MongoClient

import servers
from botsession.testing import StoreContract
from botsession_mongo import MongoSessionStore


class TestMongoWithMotor(StoreContract):
    store_type = MongoSessionStore
    shared = True
    api = "motor"

    def options(self, namespace):
        return {"url": f"{servers.mongo_url()}/conformance", "collection_name": namespace.replace("-", "_"), "api": self.api}

    async def corrupt(self, store, session_id):
        await asyncio.to_thread(_corrupt, store._name, session_id)

    def unreachable(self, secret):
        url = f"mongodb://somebody:{secret}@127.0.0.1:{servers.free_port()}"
        return {"url": url, "timeout": 0.7, "api": self.api}


class TestMongoWithPyMongo(TestMongoWithMotor):
    api = "pymongo"


def _corrupt(collection_name, session_id):
    with MongoClient(servers.mongo_url()) as client:
        collection = client.conformance[collection_name]
        document = collection.find_one({"_id": session_id}) or {"_id": session_id}
        collection.replace_one({"_id": session_id}, {**document, "state": bson.ObjectId()}, upsert=True)
