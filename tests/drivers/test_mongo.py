from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import os
import subprocess
import sys
import time
import uuid
import warnings

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.monitoring import CommandListener

import servers
from botsession import (
    ConfigError,
    CorruptSessionError,
    Replacement,
    Session,
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from botsession_mongo import MongoSessionStore, documents
from botsession_mongo.batch import Batch
from botsession_mongo.changes import Change

ID = "telegram:42"
CLIENTS = {"motor": AsyncIOMotorClient, "pymongo": AsyncMongoClient}


@pytest.fixture(params=["motor", "pymongo"])
def api(request):
    return request.param


@pytest.fixture
def collection():
    with MongoClient(servers.mongo_url(), tz_aware=True) as client:
        name = f"t{uuid.uuid4().hex}"
        yield client.drivers[name]
        client.drivers.drop_collection(name)


@contextlib.asynccontextmanager
async def opened(collection, api, **options):
    given = {"url": f"{servers.mongo_url()}/drivers", "api": api, "collection_name": collection.name, **options}
    store = MongoSessionStore(**given)
    try:
        yield await store.init()
    finally:
        await store.close()


def run(test, *args, **options):
    async def body():
        async with opened(*args, **options) as store:
            return await test(store)

    return asyncio.run(body())


class Commands(CommandListener):
    """The commands that a client sends."""

    def __init__(self):
        self.sent = []

    def started(self, event):
        if event.command_name not in ("hello", "isMaster", "endSessions"):
            self.sent.append(event.command)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def names(self):
        return [next(iter(command)) for command in self.sent]


def test_the_document(collection, api):
    async def body(store):
        session = Session(ID, {"count": 3}, {"name": "Ann"}, expires_in=10)
        await store.write(ID, session)
        return session

    session = run(body, collection, api)
    document = collection.find_one({"state.count": 3})
    assert list(document) == [
        "_id",
        "version",
        "expires_at",
        "last_activity",
        "created_at",
        "user",
        "state",
        "expires_in",
    ]
    assert document["_id"] == ID
    assert document["version"] == session.version
    assert document["expires_at"] == session.expires_at
    assert document["expires_at"] - document["last_activity"] == dt.timedelta(minutes=10)
    assert document["user"] == {"name": "Ann"}
    (ttl,) = [index for index in collection.index_information().values() if index["key"][0][0] == "expires_at"]
    assert ttl["expireAfterSeconds"] == 0


def test_a_touch_keeps_dates_dates(collection, api):
    moment = dt.datetime(2100, 1, 1, 12, 0, 0, 7000, tzinfo=dt.UTC)

    async def body(store):
        await store.write(ID, Session(ID, {"count": 1}))
        assert await store.touch(ID, moment)
        assert (await store.read(ID)).expires_at == moment
        assert collection.find_one({"_id": ID})["expires_at"] == moment
        assert isinstance(collection.find_one({"_id": ID})["last_activity"], dt.datetime)
        assert await store.touch(ID, None)

    run(body, collection, api)
    document = collection.find_one({"_id": ID})
    assert document["expires_at"] is None
    assert "_" not in document


def test_removed_keys_are_gone(collection, api):
    async def body(store):
        session = Session(ID, {"a": 1, "b": {"c": 1}})
        await store.write(ID, session)
        session.state = {"b": {}}
        await store.replace(ID, session, expected=session.version)

    run(body, collection, api)
    assert collection.find_one({"_id": ID})["state"] == {"b": {}}


STATES = [
    {"least": -(2**63), "greatest": 2**63 - 1, "int32": [2**31 - 1, 2**31, -(2**31) - 1], "small": 0},
    {"whole": 1.0, "one": 1, "true": True, "minus": -0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308},
    {"z": 1, "a": 2, "": {"": []}, "a.b": {"c.d": None}, "1": [{}], "text": "a\0b $x \U0001f600"},
    {"price": "$5", "_id": "x", "507f1f77bcf86cd799439011": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
]
AS_TEXT = [{"$set": 1}, {"a": [{"b": {"$ref": "c", "$id": 1}}]}, {"a\0b": 1}, {"$": {"$date": "2026-11-23"}}]


@pytest.mark.parametrize("state", STATES + AS_TEXT, ids=str)
def test_states_come_back_the_same(collection, api, state):
    async def body(store):
        await store.write(ID, Session(ID, state, user=state))
        return await store.read(ID)

    found = run(body, collection, api)
    for value in (found.state, found.user):
        assert repr(value) == repr(state)
        assert types(value) == types(state)
    assert isinstance(collection.find_one({"_id": ID})["state"], str if state in AS_TEXT else dict)


def types(value):
    if type(value) is dict:
        return {key: types(item) for key, item in value.items()}
    return [types(item) for item in value] if type(value) is list else type(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 1),
        ("version", ""),
        ("expires_at", "tomorrow"),
        ("last_activity", None),
        ("created_at", ...),
        ("state", [1]),
        ("state", "no JSON"),
        ("state", "[1]"),
        ("state", {"at": dt.datetime(2026, 11, 23, tzinfo=dt.UTC)}),
        ("state", {"id": bson.ObjectId("6b0497ef94e3c17a6891d10d")}),
        ("user", 5),
        ("user", ...),
        ("expires_in", "10"),
    ],
    ids=str,
)
def test_a_document_that_is_no_session(collection, api, field, value):
    async def body(store):
        await store.write(ID, Session(ID, {"a": 1}))
        document = {**collection.find_one({"_id": ID}), field: value}
        collection.replace_one({"_id": ID}, {key: item for key, item in document.items() if item is not ...})
        with pytest.raises(CorruptSessionError, match=ID) as caught:
            await store.read(ID)
        assert bson.decode(caught.value.raw)["_id"] == ID
        (outcome,) = await store.read_many([ID])
        assert isinstance(outcome, CorruptSessionError)
        await store.destroy(ID)
        assert await store.read(ID) is None

    run(body, collection, api)


@pytest.mark.parametrize("field", ["state", "user"])
def test_code_is_no_text(field):
    """NX-27017 would store it as text."""
    session = Session(ID, {"a": 1}, version="9f86d081884c7d65")
    document = {**bson.decode(documents.encode(session).raw), field: bson.Code("{}")}
    with pytest.raises(CorruptSessionError, match=ID):
        documents.decode(RawBSONDocument(bson.encode(document)), ID, store="here")


def test_a_session_larger_than_the_server_takes(collection, api):
    async def body(store):
        session = Session(ID, {"a": 1})
        await store.write(ID, session)
        large = Session(ID, {"a": "x" * 17_000_000})
        with pytest.raises(SessionTooLargeError, match=r"17,000,\d+ bytes"):
            await store.write(ID, large)
        small = Session("telegram:43")
        outcomes = await store.replace_many([Replacement(large, session.version), Replacement(small, None)])
        assert [type(outcome) for outcome in outcomes] == [SessionTooLargeError, type(None)]
        assert (await store.read(ID)).state == {"a": 1}

    run(body, collection, api)


def test_one_command_per_operation(collection, api):
    commands = Commands()

    async def body():
        client = CLIENTS[api](servers.mongo_url(), event_listeners=[commands])
        store = MongoSessionStore(client=client, collection_name=collection.name)
        await store.init()
        sessions = [Session(f"telegram:{number}") for number in range(3)]
        ids = [session.id for session in sessions]
        steps = [
            ("find", lambda: store.read(ID)),
            ("update", lambda: store.write(ID, Session(ID))),
            ("update", lambda: store.replace(ids[0], sessions[0], expected=None)),
            ("update", lambda: store.replace(ids[0], sessions[0], expected=sessions[0].version)),
            ("update", lambda: store.touch(ID, None)),
            ("find", lambda: store.scan("telegram:")),
            ("find", lambda: store.read_many(ids)),
            ("update", lambda: store.replace_many([Replacement(session, None) for session in sessions[1:]])),
            ("delete", lambda: store.destroy_many(ids)),
            ("delete", lambda: store.destroy(ID)),
            ("ping", store.ping),
        ]
        for name, step in steps:
            commands.sent.clear()
            await step()
            assert commands.names() == [name]
            if name in ("update", "delete"):
                assert commands.sent[0]["writeConcern"] == {"w": "majority"}
        await store.close()
        assert await client.drivers.command("ping")
        closed = client.close()
        if closed is not None:
            await closed

    asyncio.run(body())
    with MongoClient(servers.mongo_url()) as client:
        client.botsession.drop_collection(collection.name)


@pytest.mark.parametrize(("query", "concern"), [("?w=1", {"w": 1}), ("?journal=true", {"w": "majority", "j": True})])
def test_the_url_decides_the_write_concern(collection, api, query, concern):
    async def body(store):
        assert store._connection.collection.write_concern.document == concern
        assert store._connection.collection.name == collection.name
        assert store._connection.collection.database.name == "drivers"
        await store.write(ID, Session(ID))

    run(body, collection, api, url=f"{servers.mongo_url()}/drivers{query}")


def test_another_index_on_the_deadline_is_an_error(collection, api):
    collection.create_index("expires_at", expireAfterSeconds=3600)
    with pytest.raises(StoreError, match=r"another index on expires_at.*drop it"):
        run(lambda store: store.ping(), collection, api)


def test_concurrent_creations_have_one_winner(collection, api):
    async def body(store):
        outcomes = await asyncio.gather(
            *(store.replace(ID, Session(ID, {"n": number}), expected=None) for number in range(64)),
            return_exceptions=True,
        )
        (winner,) = [number for number, outcome in enumerate(outcomes) if outcome is None]
        assert sum(isinstance(outcome, SessionConflictError) for outcome in outcomes) == 63
        assert (await store.read(ID)).state == {"n": winner}

    run(body, collection, api)


def test_a_batch_tells_conflicts_from_success(collection, api):
    async def body(store):
        kept, stale, there = (Session(f"telegram:{number}", {"n": 0}) for number in range(3))
        for session in (kept, stale, there):
            await store.write(session.id, session)
        gone, new = Session("telegram:3"), Session("telegram:4")
        entries = [
            Replacement(kept, kept.version),
            Replacement(stale, "another"),
            Replacement(there, None),
            Replacement(gone, "a version"),
            Replacement(new, None),
        ]
        outcomes = await store.replace_many(entries)
        assert [type(outcome) for outcome in outcomes] == [
            type(None),
            SessionConflictError,
            SessionConflictError,
            SessionConflictError,
            type(None),
        ]
        assert [outcome.session_id for outcome in outcomes[1:4]] == [stale.id, there.id, gone.id]
        assert await store.read(gone.id) is None
        assert (await store.read(kept.id)).version == kept.version

    run(body, collection, api)


@contextlib.contextmanager
def written_over(store, *writes):
    """Has others write, one after the other, when a batch of the store is on the server and before it asks for versions."""
    see = store._storing._see

    async def see_later(*args):
        for session_id in writes:
            session = await store.read(session_id)
            await store.replace(session_id, session, expected=session.version)
        return await see(*args)

    store._storing._see = see_later
    yield
    store._storing._see = see


@pytest.mark.parametrize(
    ("before", "after", "outcomes"),
    [
        ("b", "", [None, SessionConflictError, None]),
        ("b", "a", [None, SessionConflictError, None]),
        ("b", "ab", [None, SessionConflictError, None]),
        ("b", "aac", [None, SessionConflictError, None]),
        ("abc", "aabbc", [SessionConflictError] * 3),
        ("bb", "aac", [StoreError, StoreError, None]),
    ],
)
def test_a_batch_that_others_write_over(collection, api, before, after, outcomes):
    """Who was first is told from the versions that were replaced; two writers more, and it is told as unknown."""

    async def body(store):
        sessions = [Session(session_id, {"n": 0}) for session_id in "abc"]
        for session in sessions:
            await store.write(session.id, session)
        entries = [Replacement(session, session.version) for session in sessions]
        for session_id in before:
            session = await store.read(session_id)
            await store.replace(session_id, session, expected=session.version)
        with written_over(store, *after):
            found = await store.replace_many(entries)
        assert [outcome if outcome is None else type(outcome) for outcome in found] == outcomes

    run(body, collection, api)


def test_another_unique_index_is_no_conflict(collection, api):
    """The server tells by which index a document was refused; nobody else has written the session."""
    taken = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key", "keyPattern": {"state.email": 1}}

    async def body(store):
        async def refuse(error):
            raise error

        with pytest.raises(StoreError, match="E11000") as caught:
            await store._run(refuse(DuplicateKeyError("E11000 duplicate key", 11000, taken)))
        assert type(caught.value) is StoreError
        with pytest.raises(DuplicateKeyError):
            await store._run(refuse(DuplicateKeyError("E11000", 11000, {**taken, "keyPattern": {"_id": 1}})))
        batch = Batch()
        for session in (Session("a"), Session("b")):
            batch.add(len(batch.operations), Change.write(session), Change.write(session).encode())
        errors = [taken, {**taken, "index": 1, "keyPattern": {"_id": 1}}]
        details = {"nMatched": 0, "nUpserted": 0, "writeConcernErrors": [], "writeErrors": errors}
        batch.take(BulkWriteError(details), "MongoDB")
        assert [type(failure) for failure in batch.failed.values()] == [StoreError, SessionConflictError]

    run(body, collection, api)


def test_a_batch_whose_reply_is_lost_after_it_was_stored(collection, api):
    async def body():
        async with proxy() as (url, breaker), opened(collection, api, url=f"{url}/drivers") as store:
            sessions = [Session(session_id, {"n": 1}) for session_id in "abc"]
            for session in sessions[:2]:
                await store.write(session.id, session)
            entries = [Replacement(session, session.version or None) for session in sessions]
            entries[1] = Replacement(sessions[1], "another")
            breaker.update({"after": 1})
            outcomes = await store.replace_many(entries)
            assert breaker == {"after": 0}
            assert [type(outcome) for outcome in outcomes] == [type(None), StoreUnavailableError, type(None)]
            assert (await store.read("a")).version == sessions[0].version

    asyncio.run(body())


def test_a_reply_that_is_lost_after_the_session_was_stored(collection, api):
    async def body():
        async with proxy() as (url, breaker), opened(collection, api, url=f"{url}/drivers") as store:
            session = Session(ID, {"n": 1})
            await store.replace(ID, session, expected=None)
            breaker.update({"after": 1})
            session.state = {"n": 2}
            await store.replace(ID, session, expected=session.version)
            assert breaker == {"after": 0}
            assert (await store.read(ID)).version == session.version

    asyncio.run(body())


@contextlib.asynccontextmanager
async def proxy():
    """Gives the URL of a proxy before the server, which swallows the reply to an update, once for each `after`."""
    host, port = servers.mongo_url().removeprefix("mongodb://").split(":")
    breaker = {"after": 0}
    tasks = set()

    async def forward(reader, writer):
        tasks.add(asyncio.current_task())
        from_server, to_server = await asyncio.open_connection(host, int(port))
        answers = asyncio.create_task(copy(from_server, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if breaker["after"] and b"\x02update\x00" in data:
                    breaker["after"] -= 1
                    answers.cancel()
                    await asyncio.wait([answers])
                    to_server.write(data)
                    await from_server.read(65536)
                    break
                to_server.write(data)
        answers.cancel()
        for end in (to_server, writer):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}", breaker
    finally:
        server.close()
        await asyncio.wait(tasks, timeout=5)


@pytest.mark.parametrize("connections", [1, 64])
def test_a_server_that_hangs(api, connections):
    async def body():
        ends = []
        server = await asyncio.start_server(lambda _, writer: ends.append(writer), "127.0.0.1", 0)
        url = f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        stores = [MongoSessionStore(url, api=api, timeout=0.5) for _ in range(1 if connections == 1 else 4)]
        started = time.monotonic()
        outcomes = await asyncio.gather(*(store.init() for store in stores), return_exceptions=True)
        assert time.monotonic() - started < 2
        for outcome in outcomes:
            assert isinstance(outcome, StoreUnavailableError), outcome
            assert "does not answer" in str(outcome)
        server.close()
        for end in ends:
            end.close()

    asyncio.run(body())


def test_nobody_listens(api):
    store = MongoSessionStore(f"mongodb://ann:s3cret@127.0.0.1:{servers.free_port()}/", api=api, timeout=0.7)
    with pytest.raises(
        StoreUnavailableError, match=r"MongoDB at 127\.0\.0\.1:\d+ does not answer: .*Errno 111"
    ) as caught:
        asyncio.run(store.init())
    assert "s3cret" not in f"{caught.value}{store!r}"
    with pytest.raises(StoreError, match="not open"):
        asyncio.run(store.read(ID))
    del caught
    with warnings.catch_warnings():
        # PyMongo forgets the socket on which it is connecting when it is closed.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_wrong_password(collection, api):
    url = servers.mongo_url().replace("mongodb://", "mongodb://nobody:s3cret@")
    try:
        with MongoClient(url, serverSelectionTimeoutMS=2000) as client:
            client.admin.command("ping")
    except Exception as error:
        if getattr(error, "code", None) != 18:
            pytest.skip(f"the server has no authentication: {error}")
    else:
        pytest.skip("the server lets everybody in")
    with pytest.raises(StoreUnavailableError, match=r"refuses access.*check user, password"):
        run(lambda store: store.ping(), collection, api, url=url)


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


def test_a_name_that_the_dns_does_not_know(api):
    store = MongoSessionStore("mongodb+srv://ann:s3cret@db.botsession.invalid/", api=api, timeout=2)
    with pytest.raises(StoreUnavailableError, match=r"db\.botsession\.invalid"):
        asyncio.run(store.init())


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
