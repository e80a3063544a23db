"""The documents in MongoDB and the commands that write them, observed by a bare client."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from types import SimpleNamespace

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from mongo_setups import CLIENTS, run
from pymongo import DeleteOne, MongoClient
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from pymongo.monitoring import CommandListener

import servers
from botsession import (
    Claim,
    CorruptSessionError,
    Session,
    SessionConflictError,
    SessionTooLargeError,
    Step,
    StoreError,
    StoreUnavailableError,
)
from botsession_mongo import MongoSessionStore, documents

ID = "telegram:42"


class Commands(CommandListener):
    """A listener that records the commands that a client sends."""

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
    assert sorted(document) == [
        "_id",
        "botsession",
        "created_at",
        "expires_at",
        "expires_in",
        "last_activity",
        "state",
        "user",
        "version",
    ]
    assert document["_id"] == ID
    assert document["version"] == session.version
    assert document["expires_at"] == session.expires_at
    assert document["expires_at"] - document["last_activity"] == dt.timedelta(minutes=10)
    assert document["user"] == {"name": "Ann"}


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
    assert document["expires_at"] == dt.datetime(
        9999, 12, 31, 23, 59, 59, 999_000, dt.UTC
    )  # so that one comparison finds the live sessions
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
    """The document is decoded directly, because NX-27017 would store the code as text."""
    session = Session(ID, {"a": 1}, version="9f86d081884c7d65")
    document = {"_id": ID, **documents.MARK, **bson.decode(documents.encode(session).raw), field: bson.Code("{}")}
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
        outcomes = await store.commit([Step.replace(large, session.version), Step.replace(small, None)])
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
            ("update", lambda: store.commit([Step.replace(session, None) for session in sessions[1:]])),
            ("delete", lambda: store.commit([Step.remove(session_id) for session_id in ids])),
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


def test_another_index_on_the_deadline_is_an_error(collection, api):
    collection.create_index("expires_at", expireAfterSeconds=3600)
    with pytest.raises(StoreError, match=r"another index on expires_at.*Drop it"):
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
            Step.replace(kept, kept.version),
            Step.replace(stale, "another"),
            Step.replace(there, None),
            Step.replace(gone, "a version"),
            Step.replace(new, None),
        ]
        outcomes = await store.commit(entries)
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
    """Write sessions, one after the other, after the server has applied a batch and before the store reads the versions."""
    find = store._commits._find

    async def find_later(*args):
        store._commits._find = find
        for session_id in writes:
            session = await store.read(session_id)
            await store.replace(session_id, session, expected=session.version)
        return await find(*args)

    store._commits._find = find_later
    yield
    assert store._commits._find == find


@pytest.mark.parametrize(
    ("before", "after", "outcomes"),
    [
        ("b", "", [None, SessionConflictError, None]),
        ("b", "a", [None, SessionConflictError, None]),
        ("b", "ab", [None, SessionConflictError, None]),
        ("b", "aac", [None, SessionConflictError, None]),
        ("abc", "aabbc", [SessionConflictError] * 3),
        ("bb", "aac", [StoreUnavailableError, StoreUnavailableError, None]),
    ],
)
def test_a_batch_that_others_write_over(collection, api, before, after, outcomes):
    """The replaced versions show which writer was first. After two more writes the outcome is reported as unknown."""

    async def body(store):
        sessions = [Session(session_id, {"n": 0}) for session_id in "abc"]
        for session in sessions:
            await store.write(session.id, session)
        await store.lease_many([Claim(session_id, "a", 60, 60) for session_id in "abc"])
        entries = [Step.replace(session, session.version, "a") for session in sessions]
        for session_id in before:
            session = await store.read(session_id)
            await store.replace(session_id, session, expected=session.version)
        with written_over(store, *after):
            found = await store.commit(entries)
        assert [outcome if outcome is None else type(outcome) for outcome in found] == outcomes

    run(body, collection, api)


def test_another_unique_index_is_no_conflict(collection, api):
    """The server names the index that refused a document. No other writer has stored the session."""
    taken = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key", "keyPattern": {"state.email": 1}}

    async def body(store):
        async def refuse(error):
            raise error

        with pytest.raises(StoreError, match="E11000") as caught:
            await store._run(refuse, DuplicateKeyError("E11000 duplicate key", 11000, taken))
        assert type(caught.value) is StoreError
        with pytest.raises(DuplicateKeyError):
            await store._run(refuse, DuplicateKeyError("E11000", 11000, {**taken, "keyPattern": {"_id": 1}}))
        answers = Answers([taken, {**taken, "index": 1, "keyPattern": {"_id": 1}}])
        sent = await store._connection.send(answers, [DeleteOne({"_id": "a"}), DeleteOne({"_id": "b"})])
        assert type(sent.failures[0]) is StoreError
        assert sent.failures[1] is None

    run(body, collection, api)


class Answers:
    """A collection that fails successive calls with the given write errors, then succeeds."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.sent = []

    async def bulk_write(self, operations, *, ordered):
        self.sent.append([operation._filter["_id"] for operation in operations])
        failed = self.errors.pop(0) if self.errors else []
        done = len(operations) - len(failed)
        if not failed:
            return SimpleNamespace(matched_count=0, upserted_count=0, deleted_count=done)
        counts = {"nMatched": 0, "nUpserted": 0, "nRemoved": done, "writeConcernErrors": []}
        raise BulkWriteError({**counts, "writeErrors": failed})


def test_what_meets_another_write_is_sent_again(collection, api):
    """A server with transactions may refuse a write, without effect, while another is in progress."""
    refusals = iter([OperationFailure("WriteConflict", 112), OperationFailure("aborted", 251), None])

    def conflicts(*indexes):
        return [{"index": index, "code": 112, "errmsg": "WriteConflict"} for index in indexes]

    async def body(store):
        async def refused_twice():
            if (error := next(refusals)) is not None:
                raise error
            return "done"

        assert await store._run(refused_twice) == "done"
        answers = Answers(conflicts(0, 2), conflicts(1))
        sent = await store._connection.send(answers, [DeleteOne({"_id": each}) for each in "abc"])
        assert answers.sent == [["a", "b", "c"], ["a", "c"], ["c"]]
        assert (sent.found, sent.failures) == (3, {})

    run(body, collection, api)


def test_a_write_that_meets_others_for_ever_ends_in_time(collection, api):
    async def body(store):
        async def refuse():
            raise OperationFailure("WriteConflict", 112)

        store._connection._limit = 0.02
        with pytest.raises(StoreUnavailableError, match="busy with other writes"):
            await store._run(refuse)
        answers = Answers(*[[{"index": 0, "code": 112, "errmsg": "WriteConflict"}]] * 1000)
        sent = await store._connection.send(answers, [DeleteOne({"_id": "a"})])
        assert isinstance(sent.failures[0], StoreUnavailableError)
        store._connection._limit = 5

    run(body, collection, api)
