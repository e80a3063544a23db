"""Documents of other programs and unreadable sessions under session ids, observed by a bare client."""

from __future__ import annotations

import contextlib
import datetime as dt

import bson
import pytest
from mongo_setups import keeps_filters, run

from botsession import (
    BotSessionError,
    Claim,
    CorruptSessionError,
    Session,
    SessionConflictError,
    Sessions,
    Step,
)
from botsession_operations import deletion as deleting

ID = "telegram:42"
OTHER = "telegram:43"
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
MOMENTS = {"last_activity": PAST, "created_at": PAST}
LEASE = {"holder": "a", "until": 1, "free": 1, "mark": "m"}

FOREIGN = {
    "a note": {"note": "not a session"},
    "no lease": {"lease": None, "total": 12},
    "a lease alone": {"lease": LEASE},
    "a placeholder": {"lease": LEASE, "expires_at": PAST},
    "a lease that is held": {"lease": {**LEASE, "until": 2**45}, "expires_at": PAST},
    "expired": {"expires_at": PAST, "value": 5},
    "another version": {"version": 7, "expires_at": PAST, "state": {}},
    "a version": {"version": "1.2", "expires_at": PAST},
    "like a session": {"version": "1.2", "expires_at": PAST, **MOMENTS, "user": None, "state": {"n": 1}},
    "marked otherwise": {"botsession": "yes", "expires_at": PAST},
    "marked by a truth": {"botsession": True, "expires_at": PAST},
    "marked by a number": {"botsession": 1, "expires_at": PAST},
    "marked by zero": {"botsession": 0, "expires_at": PAST},
}


def calls(store, version):
    """Return every call that might change the document."""
    restored = Session(ID, version="0" * 16, created_at=PAST, last_activity=PAST, expires_at=None)
    over = Session(ID, version=version, created_at=PAST, last_activity=PAST, expires_at=PAST)
    sessions = Sessions(store)
    return [
        lambda: store.read(ID),
        lambda: store.write(ID, Session(ID)),
        lambda: store.replace(ID, Session(ID), expected=None),
        lambda: store.replace(ID, Session(ID), expected=version),
        lambda: store.lease_many([Claim(ID, "b", 60, 60)]),
        lambda: store.lease_many([Claim(ID, "c", 60, 60), Claim(OTHER, "c", 60, 60)]),
        lambda: store.renew_leases({ID: "a", OTHER: "c"}, 60),
        lambda: store.commit([Step.replace(Session(ID), None, "a")]),
        lambda: store.commit([Step.replace(Session(ID), version, "a"), Step.replace(Session("telegram:1"), None)]),
        lambda: store.commit([Step.replace(Session(ID), None), Step.replace(Session("telegram:2"), None)]),
        lambda: store.commit([Step.restore(restored, None)]),
        lambda: store.commit([Step.restore(restored, over)]),
        lambda: store.touch(ID, None),
        lambda: store.commit([Step.remove(ID)]),
        lambda: store.commit([Step.remove(ID), Step.remove("telegram:1")]),
        lambda: store.commit([Step.remove(ID, version)]),
        lambda: store.commit([Step.remove(ID, holder="a")]),
        lambda: store.destroy(ID),
        lambda: store.quarantine(ID),
        lambda: sessions.update(ID, lambda session: session.set_state({"x": 1})),
        lambda: store.release_leases({ID: "a", OTHER: "c"}),
        lambda: store.release_leases({ID: "b"}),
        store.scan,
    ]


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_nothing_changes_what_another_program_wrote(collection, api, foreign):
    document = {"_id": ID, **foreign}

    async def body(store):
        collection.insert_one(dict(document))
        for call in calls(store, document.get("version") or "1" * 16):
            with contextlib.suppress(BotSessionError):
                await call()
            assert collection.find_one({"_id": ID}) == document
        with pytest.raises(CorruptSessionError, match="did not write it"):
            await store.read(ID)
        [taken] = await store.lease_many([Claim(ID, "d", 60, 60)])
        assert isinstance(taken, CorruptSessionError)
        for call in (store.write(ID, Session(ID)), store.destroy(ID), store.quarantine(ID)):
            with pytest.raises(CorruptSessionError, match="did not write it"):
                await call
        with pytest.raises(SessionConflictError):
            await store.replace(ID, Session(ID), expected=None)
        assert await store.renew_leases({ID: "a"}, 60) == [False]
        assert await store.touch(ID, None) is False
        [refused, removed] = await store.commit([Step.remove(ID), Step.remove(OTHER)])
        assert isinstance(refused, CorruptSessionError)
        assert removed is None
        assert [error.session_id for error in (await store.scan()).unreadable] == [ID]

    run(body, collection, api)
    assert collection.find_one({"_id": ID}) == document


def test_another_programs_document_does_not_keep_a_deletion_from_the_rest(collection, api, monkeypatch):
    monkeypatch.setattr(deleting, "_BATCH", 1)

    async def body(store):
        for delete in (
            lambda: deleting.delete(store, ["telegram:1", ID, OTHER]),
            lambda: deleting.delete_prefix(store, "telegram:"),
        ):
            for session_id in ("telegram:1", OTHER):
                await store.write(session_id, Session(session_id))
            collection.replace_one({"_id": ID}, {"_id": ID, "note": "not a session"}, upsert=True)
            counts = []
            with pytest.raises(CorruptSessionError, match="did not write it") as told:
                async for count in delete():
                    counts.append(count)  # noqa: PERF401 - a comprehension would lose the counts before the error
            assert told.value.session_id == ID
            assert sorted(counts) == [0, 1, 1]
            assert [document["_id"] for document in collection.find()] == [ID]

    run(body, collection, api)


@pytest.mark.parametrize(
    "damage",
    [
        {"$set": {"state": bson.ObjectId("6b0497ef94e3c17a6891d10d")}},
        {"$set": {"version": 5}},
        {
            "$unset": {"version": "", "state": "", "user": "", "created_at": "", "last_activity": ""},
            "$set": {"note": 1},
        },
    ],
    ids=str,
)
def test_an_unreadable_session_survives_the_lease_on_it(collection, api, damage):
    """This holds even after its deadline, since its content is unknown."""

    async def body(store):
        await store.write(ID, Session(ID))
        collection.update_one({"_id": ID}, damage)
        collection.update_one({"_id": ID}, {"$set": {"expires_at": PAST}, "$pull": {"_": 0}})
        document = collection.find_one({"_id": ID})
        for holder in ("a", "b"):
            [outcome] = await store.lease_many([Claim(ID, holder, 60, 60)])
            assert not isinstance(outcome, Session)
        refused = await store.commit([Step.replace(Session(ID), None, "a")])
        assert isinstance(refused[0], SessionConflictError)
        with pytest.raises(SessionConflictError):
            await store.replace(ID, Session(ID), expected=None)
        [outcome] = await store.commit(
            [Step.restore(Session(ID, version="0" * 16, created_at=PAST, last_activity=PAST), None)]
        )
        assert isinstance(outcome, SessionConflictError)
        await store.release_leases({ID: "b"})
        await store.release_leases({ID: "a"})
        assert collection.find_one({"_id": ID}) == document
        assert await store.quarantine(ID) is not None
        assert collection.count_documents({}) == 0

    try:
        run(body, collection, api)
    finally:
        collection.database.drop_collection(f"{collection.name}_quarantine")


def test_the_ttl_index_reaches_our_documents_only(collection, api):
    async def body(store):
        await store.write(ID, Session(ID))
        await store.lease_many([Claim(OTHER, "a", 60, 60)])

    collection.insert_one({"_id": "coupon", "expires_at": PAST})
    run(body, collection, api)
    expiring = [each for each in collection.index_information().values() if "expireAfterSeconds" in each]
    if not keeps_filters():
        assert expiring == []
        return
    [index] = expiring
    assert index["key"] == [("expires_at", 1)]
    assert index["expireAfterSeconds"] == 0
    reached = {document["_id"] for document in collection.find(dict(index["partialFilterExpression"]))}
    assert reached == {ID, OTHER}
