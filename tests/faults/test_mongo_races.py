"""MongoDB: concurrent creation of one session, and removals by the server during a turn."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import uuid
import warnings
from datetime import timedelta

import pytest
from pymongo import MongoClient

import servers
from botsession import (
    Session,
    SessionConflictError,
    Sessions,
    Step,
    StoreError,
)
from botsession.testing import ManualClock

PROCESSES = 4


@pytest.fixture(params=["motor", "pymongo"])
def backend(request):
    """Yield an unshared collection, through each client in turn."""
    name = f"t{uuid.uuid4().hex}"
    yield {
        "driver": "mongo",
        "expires_in": 60,
        "stores": {
            "mongo": {"url": f"{servers.mongo_url()}/faults", "collection_name": name, "api": request.param},
        },
    }
    with MongoClient(servers.mongo_url()) as client:
        client.faults.drop_collection(name)


@contextlib.contextmanager
def documents(backend):
    """Yield the collection of a backend through a bare client."""
    with MongoClient(servers.mongo_url(), tz_aware=True) as client:
        yield client.faults[backend["stores"]["mongo"]["collection_name"]]


RACER = """
import asyncio, json, random, sys
from botsession import Step, Session, SessionConflictError, Sessions

async def main():
    racer, rounds = sys.argv[2], int(sys.argv[3])
    order = random.Random(f"{racer} {sys.argv[4]}").sample(range(rounds), rounds)
    async with Sessions(json.loads(sys.argv[1])) as sessions:
        print("ready", flush=True)
        sys.stdin.readline()

        async def alone(number):
            session = Session(f"one:{number}", {"racer": racer})
            await sessions.store.replace(session.id, session, expected=None)
            return session.id

        won = []
        outcomes = await asyncio.gather(*(alone(number) for number in order), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, str):
                won.append(outcome)
            elif not isinstance(outcome, SessionConflictError):
                raise outcome
        for start in range(0, rounds, 20):
            batch = [Session(f"many:{number}", {"racer": racer}) for number in order[start : start + 20]]
            for session, outcome in zip(batch, await sessions.store.commit([Step.replace(s, None) for s in batch])):
                if outcome is None:
                    won.append(session.id)
                elif not isinstance(outcome, SessionConflictError):
                    raise outcome

        def count(session):
            session.state["count"] = session.state.get("count", 0) + 1

        for number in range(rounds // 4):
            await sessions.update(f"new:{number}", count)
    print(json.dumps(won))

asyncio.run(main())
"""


def test_processes_that_create_the_same_sessions(backend, seed, scale, figures):
    """Every new session has one winner; the losers get a conflict, and an update continues from the winner's state."""
    rounds = scale(80, 2000)
    command = [sys.executable, "-W", "error", "-c", RACER, json.dumps(backend)]
    racers = []
    with contextlib.ExitStack() as stack:
        for number in range(PROCESSES):
            racer = subprocess.Popen(
                [*command, str(number), str(rounds), str(seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            racers.append(stack.enter_context(racer))
            stack.callback(racer.kill)
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [json.loads(racer.communicate(timeout=300)[0]) for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * PROCESSES
    winners = {session_id: str(racer) for racer, ids in enumerate(won) for session_id in ids}
    assert sum(map(len, won)) == len(winners) == 2 * rounds

    async def check():
        async with Sessions(backend) as sessions:
            for session_id, racer in winners.items():
                assert (await sessions.read(session_id)).state == {"racer": racer}
            for number in range(rounds // 4):
                assert (await sessions.read(f"new:{number}")).state == {"count": PROCESSES}

    asyncio.run(check())
    shares = " + ".join(str(len(ids)) for ids in won)
    api = backend["stores"]["mongo"]["api"]
    figures(
        f"mongo ({api}), {PROCESSES} processes create the same {2 * rounds} sessions: one winner each ({shares})",
        sessions=2 * rounds,
    )


@pytest.mark.parametrize("many", [False, True], ids=["alone", "among others"])
def test_a_document_that_the_server_removes_during_a_turn(backend, many):
    """A turn does not resurrect a document that the TTL monitor has removed."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, clock=clock) as sessions:
            others = [f"telegram:{number}" for number in range(8 if many else 0)]
            for session_id in ["telegram:42", *others]:
                await sessions.update(session_id, lambda session: session.set_state({"count": 1}))

            async def turn(session_id, removed):
                async with sessions.turn(session_id) as session:
                    session.state["count"] += 1
                    if removed:
                        clock.advance(minutes=61)
                        with documents(backend) as collection:
                            condition = {"_id": session_id, "expires_at": {"$lte": clock()}}
                            assert collection.delete_one(condition).deleted_count == 1
                        clock.moment -= timedelta(minutes=61)  # so that only the missing document shows it

            doomed = turn("telegram:42", True)
            outcomes = await asyncio.gather(doomed, *(turn(each, False) for each in others), return_exceptions=True)
            assert isinstance(outcomes[0], SessionConflictError)
            assert outcomes[1:] == [None] * len(others)
            assert await sessions.read("telegram:42") is None
            with documents(backend) as collection:
                assert collection.find_one({"_id": "telegram:42"}) is None
            async with sessions.turn("telegram:42") as session:
                assert session.state == {}
                session.state["count"] = 1
            assert (await sessions.read("telegram:42")).state == {"count": 1}

    asyncio.run(main())


def test_a_document_that_the_server_removes_in_an_unchanged_turn(backend):
    """A touch at the end of a turn does not resurrect it either."""

    async def main():
        clock = ManualClock()
        async with Sessions(backend, clock=clock) as sessions:
            await sessions.update("telegram:42", lambda session: session.set_state({"count": 1}))
            clock.advance(minutes=10)
            async with sessions.turn("telegram:42"):
                with documents(backend) as collection:
                    assert collection.delete_one({"_id": "telegram:42"}).deleted_count == 1
            assert await sessions.read("telegram:42") is None
            with documents(backend) as collection:
                assert collection.count_documents({"_id": "telegram:42"}) == 0

    asyncio.run(main())


def test_a_document_that_is_removed_and_created_again_during_a_turn(backend):
    """The new session is a different one, even if it looks the same."""

    async def main():
        async with Sessions(backend) as here, Sessions(backend) as there:
            await here.update("telegram:42", lambda session: session.set_state({"count": 1}))
            with pytest.raises(SessionConflictError):
                async with here.turn("telegram:42") as session:
                    session.state["count"] = 2
                    with documents(backend) as collection:
                        collection.delete_one({"_id": "telegram:42"})
                    await there.store.replace("telegram:42", Session("telegram:42", {"count": 1}), expected=None)
            assert (await here.read("telegram:42")).state == {"count": 1}

    asyncio.run(main())


def test_a_second_event_loop(backend):
    session = Session("telegram:42", {"count": 1})

    async def use(sessions):
        await sessions.init()
        await sessions.store.write(session.id, session)

    async def forget(sessions):
        for operation in (
            sessions.store.read(session.id),
            sessions.store.write(session.id, session),
            sessions.store.commit([Step.replace(session, session.version)]),
            sessions.store.ping(),
        ):
            with pytest.raises(StoreError, match="another event loop"):
                await operation
        await asyncio.gather(*(sessions.init() for _ in range(8)))
        assert (await sessions.read(session.id)).state == {"count": 1}
        await sessions.close()

    with warnings.catch_warnings():
        # Python and PyMongo warn if a loop ends before the store is closed.
        warnings.simplefilter("ignore", ResourceWarning)
        sessions = Sessions(backend)
        asyncio.run(use(sessions))
        asyncio.run(forget(sessions))
        asyncio.run(use(sessions))
        asyncio.run(sessions.close())
        del sessions
        gc.collect()
