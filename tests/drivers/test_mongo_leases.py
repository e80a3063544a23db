"""Leases in MongoDB documents, observed by the store and by a bare client."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

import pytest
from mongo_setups import CLIENTS, opened, run
from pymongo.monitoring import CommandListener

import servers
from botsession import (
    Claim,
    CorruptSessionError,
    Held,
    Session,
    SessionConflictError,
    Sessions,
    Step,
)
from botsession_mongo import MongoSessionStore

ID = "telegram:42"
OTHER = "telegram:43"
LONG = 600.0
PLACEHOLDER = {"_id", "botsession", "placeholder", "lease", "expires_at"}
HOUR = dt.timedelta(hours=1)
NEVER = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


async def claim(store, holder, session_id=ID, ttl=LONG, again=LONG):
    [outcome] = await store.lease_many([Claim(session_id, holder, ttl, again)])
    return outcome


class Commands(CommandListener):
    """A listener that records the commands that a client sends, by name and write concern."""

    def __init__(self):
        self.sent = []

    def started(self, event):
        if event.command_name not in ("hello", "isMaster", "endSessions"):
            self.sent.append((event.command_name, event.command.get("writeConcern")))

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


def test_the_commands_of_a_turn(collection, api):
    commands = Commands()
    others = [f"telegram:{number}" for number in range(3)]

    async def body():
        client = CLIENTS[api](f"{servers.mongo_url()}/drivers", event_listeners=[commands])
        store = await MongoSessionStore(client=client, collection_name=collection.name).init()
        for session_id in (ID, *others):
            await store.write(session_id, Session(session_id))
        read = await claim(store, "a")
        session = Session(ID, {"n": 1})
        await claim(store, "a", OTHER)
        held = await store.lease_many([Claim(session_id, "a", LONG, LONG) for session_id in others])
        one, majority = {"w": 1}, {"w": "majority"}
        steps = [
            ([("update", majority)], lambda: store.commit([Step.replace(session, read.version, "a")])),
            ([("findAndModify", one)], lambda: store.lease_many([Claim(ID, "b", LONG, LONG)])),
            ([("update", one)], lambda: store.release_leases({ID: "b"})),
            ([("update", majority)], lambda: store.commit([Step.replace(Session(OTHER), None, "a")])),
            (
                [("update", majority)],
                lambda: store.commit([Step.replace(each, each.version, "a") for each in held]),
            ),
            (
                [("update", one), ("find", None)],
                lambda: store.lease_many([Claim(session_id, "b", LONG, LONG) for session_id in others]),
            ),
            ([("update", one)], lambda: store.release_leases(dict.fromkeys(others, "b"))),
        ]
        for expected, step in steps:
            commands.sent.clear()
            await step()
            assert commands.sent == expected
        closed = client.close()
        if closed is not None:
            await closed

    asyncio.run(body())
    assert collection.count_documents({"lease": {"$exists": True}}) == 0


def test_the_lease_lies_in_the_document(collection, api):
    async def body(store):
        session = Session(ID, {"n": 1})
        await store.write(ID, session)
        before = collection.find_one()
        assert await claim(store, "a") == session
        assert isinstance(await claim(store, "b", again=30), Held)
        document = collection.find_one()
        lease, queue = document.pop("lease"), document.pop("queue")
        assert isinstance(document.pop("queue_mark"), str)
        assert document == before
        now = time.time() * 1000
        assert lease.keys() == {"holder", "until"}
        assert lease["holder"] == "a"
        assert now < lease["until"] <= now + LONG * 1000
        assert [place["holder"] for place in queue] == ["b"]
        assert lease["until"] > queue[0]["until"] > now
        await store.release_leases({ID: "b"})
        await store.release_leases({ID: "a"})
        assert collection.find_one() == before

    run(body, collection, api)


def test_a_placeholder_is_no_session(collection, api):
    async def body(store):
        before = dt.datetime.now(dt.UTC)
        assert await claim(store, "a") is None
        document = collection.find_one({"_id": ID})
        assert document.keys() == PLACEHOLDER
        ends = document["expires_at"]
        assert before + HOUR < ends < dt.datetime.now(dt.UTC) + HOUR + dt.timedelta(seconds=LONG + 1)
        assert collection.count_documents({"version": {"$exists": True}}) == 0
        assert await store.renew_leases({ID: "a"}, LONG * 2) == [True]
        assert collection.find_one({"_id": ID})["expires_at"] > ends
        assert await store.read(ID) is None
        assert await store.read_many([ID]) == [None]
        page = await store.scan()
        assert (page.sessions, page.unreadable) == ([], [])
        assert not await store.touch(ID, None)
        assert isinstance(await claim(store, "b"), Held)
        await store.release_leases({ID: "b"})
        await store.release_leases({ID: "a"})
        assert await claim(store, "b") is None
        await store.release_leases({ID: "b"})
        assert collection.count_documents({}) == 0

    run(body, collection, api)


def test_many_placeholders_go_too(collection, api):
    ids = [f"telegram:{number}" for number in range(5)]

    async def body(store):
        assert await store.lease_many([Claim(session_id, "a", LONG, LONG) for session_id in ids]) == [None] * 5
        assert all(document["expires_at"] for document in collection.find())
        await store.commit([Step.replace(Session(session_id), None, "a") for session_id in ids[:2]])
        await store.release_leases(dict.fromkeys(ids, "a"))

    run(body, collection, api)
    assert sorted(document["_id"] for document in collection.find()) == ids[:2]
    assert collection.count_documents({"lease": {"$exists": True}}) == 0


def test_an_expired_session_does_not_take_the_lease_with_it(collection, api):
    now = dt.datetime.now(dt.UTC)
    ids = [ID, OTHER]

    async def body(store):
        for session_id in ids:
            await store.write(session_id, Session(session_id, {"n": 1}))
        nonlocal now
        now += dt.timedelta(minutes=2)
        assert await claim(store, "a", ID) is None
        assert (
            await store.lease_many([Claim(OTHER, "a", LONG, LONG), Claim("telegram:1", "a", LONG, LONG)]) == [None] * 2
        )
        for document in collection.find():
            assert document.keys() == PLACEHOLDER
            assert document["expires_at"] > dt.datetime.now(dt.UTC) + HOUR
            assert isinstance(await claim(store, "b", document["_id"]), Held)

    run(body, collection, api, expires_in=1, clock=lambda: now)


@pytest.mark.parametrize("others", ["motor", "pymongo"])
def test_clients_of_both_kinds_stand_in_one_line(collection, api, others):
    async def body(store):
        async with opened(collection, others) as other, opened(collection, others) as third:
            assert await claim(store, "a") is None
            assert isinstance(await claim(other, "b"), Held)
            assert isinstance(await claim(third, "c"), Held)
            session = Session(ID, {"by": "a"})
            assert await store.commit([Step.replace(session, None, "a")]) == [None]
            assert isinstance(await claim(third, "c"), Held)
            assert isinstance(await claim(store, "a"), Held)
            assert await claim(other, "b") == session
            await other.release_leases({ID: "b"})
            assert await claim(third, "c") == session

    run(body, collection, api)


def test_turns_of_two_clients_do_not_meet(collection):
    async def body():
        async with opened(collection, "motor") as first, opened(collection, "pymongo") as second:
            inside = 0

            async def turns(sessions):
                nonlocal inside
                for _ in range(8):
                    async with sessions.turn(ID) as session:
                        inside += 1
                        assert inside == 1
                        await asyncio.sleep(0)
                        session.state["n"] = session.state.get("n", 0) + 1
                        inside -= 1

            await asyncio.gather(turns(Sessions(first)), turns(Sessions(second)))
            assert (await first.read(ID)).state == {"n": 16}

    asyncio.run(body())
    assert not {"lease", "queue", "queue_mark"} & collection.find_one().keys()


UNREADABLE = [
    5,
    "a",
    {"holder": 1},
    {"holder": "x", "until": "y", "mark": "z"},
    {"holder": "x", "until": 2**60, "mark": "z"},
    {"holder": "x", "until": -1},
    {"mark": 5},
    {},
    [],
    [{"mark": "z"}],
    [None],
]


@pytest.mark.parametrize("lease", UNREADABLE, ids=str)
def test_a_lease_that_cannot_be_read_is_none(collection, api, lease):
    async def body(store):
        session = Session(ID, {"n": 1})
        await store.write(ID, session)
        collection.update_one({"_id": ID}, {"$set": {"lease": lease}})
        assert await store.read(ID) == session
        assert await claim(store, "a") == session
        assert isinstance(await claim(store, "b"), Held)
        collection.update_one({"_id": ID}, {"$set": {"lease": lease}})
        await store.replace(ID, session, expected=session.version)
        collection.update_one({"_id": ID}, {"$set": {"lease": lease}})
        await store.destroy(ID)
        assert collection.count_documents({}) == 0

    run(body, collection, api)


@pytest.mark.parametrize(
    "queue",
    [5, "a", [], [5], [None], [{"holder": 1}], [{"holder": "y", "until": 2**60}]],
    ids=str,
)
def test_a_queue_that_cannot_be_read_is_none(collection, api, queue):
    async def body(store):
        session = Session(ID, {"n": 1})
        await store.write(ID, session)
        collection.update_one({"_id": ID}, {"$set": {"queue": queue}})
        assert await store.read(ID) == session
        assert await claim(store, "a") == session
        assert isinstance(await claim(store, "b"), Held)
        [outcome] = await store.commit([Step.replace(session, session.version, "a")])
        assert outcome is None
        assert await claim(store, "b") == session
        await store.release_leases({ID: "b"})
        assert not {"queue", "queue_mark"} & collection.find_one().keys()
        collection.update_one({"_id": ID}, {"$set": {"queue": queue}})
        await store.destroy(ID)
        assert collection.count_documents({}) == 0

    run(body, collection, api)


def test_a_lease_makes_no_corrupt_document_absent(collection, api):
    async def body(store):
        collection.insert_one({"_id": ID, "state": {"n": 1}})
        for holder in ("a", "b"):
            assert isinstance(await claim(store, holder), CorruptSessionError | Held)
            with pytest.raises(CorruptSessionError):
                await store.read(ID)
            with pytest.raises(SessionConflictError):
                await store.replace(ID, Session(ID), expected=None)
            assert isinstance((await store.commit([Step.replace(Session(ID), None, "a")]))[0], SessionConflictError)
        await store.release_leases({ID: "b"})
        await store.release_leases({ID: "a"})

    run(body, collection, api)
    assert collection.find_one() == {"_id": ID, "state": {"n": 1}}


def test_a_session_that_is_stored_beside_a_lease_is_whole(collection, api):
    async def body(store):
        session = Session(ID, {"a": 1, "b": 2}, expires_in=5)
        await store.write(ID, session)
        await claim(store, "a")
        session.state = {"b": {"$x": [1.0, "a.b"], "": 2**62}}
        await store.write(ID, Session(ID, session.state))
        found = await store.read(ID)
        assert repr(found.state) == repr(session.state)
        assert "expires_in" not in collection.find_one()
        restored = Session(
            ID, {"c": 3}, version="0" * 16, created_at=found.created_at, last_activity=found.last_activity
        )
        assert await store.commit([Step.restore(restored, found)]) == [None]
        late = Step.restore(Session(ID, version="1" * 16, created_at=found.created_at, last_activity=NEVER), found)
        assert isinstance((await store.commit([late]))[0], SessionConflictError)
        assert await store.read(ID) == restored
        assert isinstance(await claim(store, "b"), Held)
        assert await store.commit([Step.remove(ID, holder="a"), Step.remove(OTHER)]) == [None, None]
        document = collection.find_one({"_id": ID})
        assert document.keys() == PLACEHOLDER - {"lease"} | {"queue", "queue_mark"}
        assert [place["holder"] for place in document["queue"]] == ["b"]
        assert await store.renew_leases({ID: "a"}, LONG) == [False]
        assert await claim(store, "b") is None

    run(body, collection, api)


def test_a_batch_stores_beside_those_who_wait(collection, api):
    ids = [f"telegram:{number}" for number in range(4)]

    async def body(store):
        sessions = [Session(session_id, {"n": 1}) for session_id in ids]
        for session in sessions[:3]:
            await store.write(session.id, session)
        await store.lease_many([Claim(session_id, "a", LONG, LONG) for session_id in ids])
        for session_id in ids[1:]:
            assert isinstance(await claim(store, "b", session_id), Held)
        stale = Step.replace(Session(ids[2]), "0" * 16, "a")
        changed = [Step.replace(session, session.version or None, "a") for session in sessions]
        changed[2] = stale
        outcomes = await store.commit(changed)
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [SessionConflictError, type(None)]
        assert [isinstance(await claim(store, "c", session_id), Held) for session_id in ids] == [
            False,
            True,
            True,
            True,
        ]
        assert await store.renew_leases({ids[2]: "a"}, LONG) == [True]
        for index in (1, 3):
            assert await claim(store, "b", ids[index]) == sessions[index]

    run(body, collection, api)


def test_who_was_killed_stands_in_nobodys_way(collection, api):
    async def body(store):
        session = Session(ID)
        await store.write(ID, session)
        await claim(store, "killed", ttl=1)
        assert isinstance(await claim(store, "killed too", again=0.05), Held)
        await asyncio.sleep(1.1)
        assert await claim(store, "a") == session
        assert not {"queue", "queue_mark"} & collection.find_one().keys()

    run(body, collection, api)


def test_a_cancelled_claim_is_over_when_it_ends(collection, api):
    async def body(store):
        await store.write(ID, Session(ID))
        for number in range(12):
            task = asyncio.ensure_future(claim(store, f"h{number}"))
            await asyncio.sleep(number * 0.0002)
            task.cancel()
            await asyncio.wait([task])
            await store.release_leases({ID: f"h{number}"})
            assert not {"lease", "queue", "queue_mark"} & collection.find_one().keys()

    run(body, collection, api)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("there", [False, True], ids=["new", "known"])
def test_what_is_destroyed_under_a_lease_stays_destroyed(collection, api, there, number):
    """A write that names the holder arrives after the session was destroyed, or is repeated then."""
    ids = [f"telegram:{number}" for number in range(number)]

    async def body(store):
        for destroy in (
            lambda: asyncio.gather(*map(store.destroy, ids)),
            lambda: store.commit([Step.remove(session_id) for session_id in ids]),
        ):
            sessions = [Session(session_id) for session_id in ids]
            for session in sessions if there else []:
                await store.write(session.id, session)
            await store.lease_many([Claim(session_id, "a", LONG, LONG) for session_id in ids])
            await store.lease_many([Claim(session_id, "b", LONG, LONG) for session_id in ids])
            await destroy()
            entries = [Step.replace(session, session.version or None, "a") for session in sessions]
            for _ in range(2):
                assert all(isinstance(each, SessionConflictError) for each in await store.commit(entries))
            assert await store.renew_leases(dict.fromkeys(ids, "a"), LONG) == [False] * len(ids)
            assert await store.read_many(ids) == [None] * len(ids)
            assert await store.lease_many([Claim(session_id, "c", LONG, LONG) for session_id in ids]) == [None] * len(
                ids
            )
            assert all(isinstance(each, SessionConflictError) for each in await store.commit(entries))
            await store.release_leases(dict.fromkeys(ids, "c"))
            assert collection.count_documents({}) == 0

    run(body, collection, api)


@pytest.mark.parametrize("lock", ["auto", "local", "none"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_session_that_is_destroyed_during_turns_stays_destroyed(collection, api, lock, count):
    async def body(store):
        async with opened(collection, api) as other:
            sessions = Sessions(store, lock=lock)
            ids = [f"telegram:{number}" for number in range(count)]
            for session_id in ids:
                await sessions.update(session_id, lambda session: session.set_state({"n": 1}))
            both = asyncio.Barrier(count)

            async def turn(session_id):
                async with sessions.turn(session_id) as session:
                    session.state["n"] += 1
                    await other.destroy(session_id)
                    await both.wait()

            outcomes = await asyncio.gather(*map(turn, ids), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [SessionConflictError] * count
            assert await store.read_many(ids) == [None] * count

    run(body, collection, api)


def test_renewals_go_in_one_command(collection, api):
    commands = Commands()

    async def body():
        client = CLIENTS[api](f"{servers.mongo_url()}/drivers", event_listeners=[commands])
        store = await MongoSessionStore(client=client, collection_name=collection.name).init()
        known = [ID, "telegram:45"]
        for session_id in known:
            await store.write(session_id, Session(session_id))
        await store.lease_many([Claim(session_id, "a", 60, 60) for session_id in (*known, OTHER, "telegram:44")])
        commands.sent.clear()
        assert await store.renew_leases(dict.fromkeys(known, "a"), LONG) == [True, True]
        assert commands.sent == [("update", {"w": 1})]
        assert await store.renew_leases({OTHER: "a", ID: "a"}, LONG) == [True, True]
        assert commands.sent == [("update", {"w": 1})] * 3
        assert await store.renew_leases({OTHER: "b", "telegram:1": "a", ID: "a"}, LONG) == [False, False, True]
        assert await store.renew_leases({}, LONG) == []
        until = {document["_id"]: document["lease"]["until"] for document in collection.find()}
        assert until[ID] > until["telegram:44"] + 400_000 < until[OTHER]
        closed = client.close()
        if closed is not None:
            await closed

    asyncio.run(body())


def test_removals_name_a_version_and_a_holder(collection, api):
    async def body(store):
        sessions = [Session(f"telegram:{number}") for number in range(6)]
        for session in sessions[:5]:
            await store.write(session.id, session)
        await store.lease_many([Claim(session.id, "a", LONG, LONG) for session in sessions[2:]])
        right, old, held, stale, lost, new = sessions
        removals = [
            Step.remove(right.id, right.version),
            Step.remove(old.id, "0" * 16),
            Step.remove(held.id, held.version, "a"),
            Step.remove(stale.id, "0" * 16, "a"),
            Step.remove(lost.id, lost.version, "b"),
            Step.remove(new.id, holder="a"),
            Step.remove("telegram:absent", "0" * 16),
            Step.remove("telegram:none"),
        ]
        outcomes = await store.commit(removals)
        assert [outcome is None for outcome in outcomes] == [True, False, True, False, False, True, False, True]
        assert all(isinstance(outcome, SessionConflictError) for outcome in outcomes if outcome is not None)
        assert {document["_id"] for document in collection.find()} == {old.id, stale.id, lost.id}
        assert await store.renew_leases({stale.id: "a", lost.id: "a"}, LONG) == [True, True]

    run(body, collection, api)


def test_reads_of_leases_see_what_was_just_written(collection, api):
    """The read options of the URL do not apply: a majority may not have the lease yet, a secondary may lag behind."""

    async def body(store):
        reading = store._connection.leases
        assert reading.read_concern.document == {"level": "local"}
        assert reading.read_preference.mongos_mode == "primary"
        ids = [ID, OTHER]
        assert await store.lease_many([Claim(session_id, "a", LONG, LONG) for session_id in ids]) == [None] * 2

    query = "?readConcernLevel=majority&readPreference=secondaryPreferred"
    run(body, collection, api, url=f"{servers.mongo_url()}/drivers{query}")
