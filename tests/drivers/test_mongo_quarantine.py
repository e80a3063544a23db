"""The quarantine of unreadable documents, observed by a bare client."""

from __future__ import annotations

import asyncio
import re
import uuid

import bson
import pytest
from mongo_setups import CLIENTS
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

import servers
from botsession import (
    Claim,
    CorruptSessionError,
    Held,
    Session,
)
from botsession_mongo import MongoSessionStore

ID = "telegram:42"


@pytest.fixture
def database():
    with MongoClient(servers.mongo_url(), tz_aware=True) as client:
        name = f"q{uuid.uuid4().hex}"
        yield client[name]
        client.drop_database(name)


class Before(CommandListener):
    """A listener that calls a function once, just before a command reaches the server."""

    def __init__(self, name, do):
        self.name = name
        self.do = do

    def started(self, event):
        if event.command_name == self.name and self.do is not None:
            do, self.do = self.do, None
            do()

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


def run(test, database, api, *listeners):
    async def body():
        client = CLIENTS[api](f"{servers.mongo_url()}/{database.name}", event_listeners=listeners)
        store = MongoSessionStore(client=client)
        try:
            await test(await store.init())
        finally:
            await store.close()
            closed = client.close()
            if closed is not None:
                await closed

    asyncio.run(body())


@pytest.mark.parametrize(
    "damage",
    [
        {"$set": {"state": bson.ObjectId("6b0497ef94e3c17a6891d10d")}},
        {"$set": {"version": 5}},
        {"$set": {"version": ["a", {"b": 1}], "expires_at": {"a": 1}}},
        {"$unset": {"version": "", "last_activity": ""}},
        {"$set": {"expires_at": "tomorrow", "user": [1, 2.0]}},
    ],
    ids=str,
)
def test_the_copy_is_as_it_was(database, api, damage):
    async def body(store):
        await store.write(ID, Session(ID, {"a": {"b.c": [1, 1.0, 2**40]}}))
        await store.write("telegram:43", Session("telegram:43"))
        database.sessions.update_one({"_id": ID}, damage)
        with pytest.raises(CorruptSessionError) as caught:
            await store.read(ID)
        where = await store.quarantine(ID)
        assert [document["_id"] for document in database.sessions.find()] == ["telegram:43"]
        [copy] = database.sessions_quarantine.find()
        assert where == f"document ObjectId('{copy['_id']}') of the collection sessions_quarantine"
        assert copy["session_id"] == ID
        assert copy["at"].tzinfo is not None
        assert bson.encode(copy["document"]) == caught.value.raw
        database.sessions.insert_one(copy["document"])
        with pytest.raises(CorruptSessionError) as again:
            await store.read(ID)
        assert again.value.raw == caught.value.raw

    run(body, database, api)


def test_the_lease_stays(database, api):
    async def body(store):
        await store.write(ID, Session(ID))
        database.sessions.update_one({"_id": ID}, {"$set": {"state": 5}})
        [outcome] = await store.lease_many([Claim(ID, "a", 600, 600)])
        assert isinstance(outcome, CorruptSessionError)
        assert re.search(r"sessions_quarantine", await store.quarantine(ID))
        assert await store.read(ID) is None
        [outcome] = await store.lease_many([Claim(ID, "b", 600, 600)])
        assert isinstance(outcome, Held)
        await store.release_leases({ID: "b"})
        await store.release_leases({ID: "a"})
        assert database.sessions.count_documents({}) == 0

    run(body, database, api)


@pytest.mark.parametrize("command", ["insert", "findAndModify"])
@pytest.mark.parametrize("version", ["another", None])
def test_what_is_repaired_at_the_last_moment_stays(database, api, command, version):
    def repair():
        changed = {"state": {"repaired": 1}} if version is None else {"state": {"repaired": 1}, "version": version}
        database.sessions.update_one({"_id": ID}, {"$set": changed})

    repairs = Before(command, None)

    async def body(store):
        await store.write(ID, Session(ID))
        database.sessions.update_one({"_id": ID}, {"$set": {"state": 5}})
        repairs.do = repair
        assert await store.quarantine(ID) is None
        assert repairs.do is None
        assert (await store.read(ID)).state == {"repaired": 1}
        assert database.sessions_quarantine.count_documents({}) == 0

    run(body, database, api, repairs)


def test_who_is_stopped_halfway_leaves_the_copy(database, api):
    stops = Before("findAndModify", None)

    async def body(store):
        await store.write(ID, Session(ID))
        database.sessions.update_one({"_id": ID}, {"$set": {"state": 5}})
        task = asyncio.ensure_future(store.quarantine(ID))
        loop = asyncio.get_running_loop()
        stops.do = lambda: loop.call_soon_threadsafe(task.cancel)
        await asyncio.wait([task])
        [copy] = database.sessions_quarantine.find()
        assert copy["document"]["state"] == 5

    run(body, database, api, stops)
