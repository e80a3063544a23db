"""The MongoDB driver when the server is lost, hangs, refuses or never existed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import warnings

import pytest
from mongo_setups import opened, run
from pymongo import MongoClient

import servers
from botsession import (
    Claim,
    Session,
    SessionConflictError,
    Step,
    StoreError,
    StoreUnavailableError,
)
from botsession_mongo import MongoSessionStore

ID = "telegram:42"


@contextlib.asynccontextmanager
async def proxy():
    """Yield the URL of a proxy to the server, and a dict whose `after` is the number of update replies still to drop."""
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


def is_replicated():
    with MongoClient(servers.mongo_url()) as client:
        return "setName" in client.admin.command("hello")


def test_a_batch_whose_reply_is_lost_after_it_was_stored(collection, api):
    async def body():
        async with (
            proxy() as (url, breaker),
            opened(collection, api, url=f"{url}/drivers?directConnection=true") as store,
        ):
            sessions = [Session(session_id, {"n": 1}) for session_id in "abc"]
            for session in sessions[:2]:
                await store.write(session.id, session)
            await store.lease_many([Claim(session_id, "h", 60, 60) for session_id in "abc"])
            entries = [Step.replace(session, session.version or None, "h") for session in sessions]
            entries[1] = Step.replace(sessions[1], "another", "h")
            breaker.update({"after": 1})
            outcomes = await store.commit(entries)
            assert breaker == {"after": 0}
            # A replica set repeats its reply to a retried write.
            unknown = SessionConflictError if is_replicated() else StoreUnavailableError
            assert [type(outcome) for outcome in outcomes] == [type(None), unknown, type(None)]
            assert (await store.read("a")).version == sessions[0].version

    asyncio.run(body())


def test_a_reply_that_is_lost_after_the_session_was_stored(collection, api):
    async def body():
        async with (
            proxy() as (url, breaker),
            opened(collection, api, url=f"{url}/drivers?directConnection=true") as store,
        ):
            session = Session(ID, {"n": 1})
            await store.replace(ID, session, expected=None)
            breaker.update({"after": 1})
            session.state = {"n": 2}
            await store.replace(ID, session, expected=session.version)
            assert breaker == {"after": 0}
            assert (await store.read(ID)).version == session.version

    asyncio.run(body())


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
        # If PyMongo is closed while it connects, it leaks the socket.
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
        pytest.skip("the server accepts any credentials")
    with pytest.raises(StoreUnavailableError, match=r"refuses access.*Check user, password"):
        run(lambda store: store.ping(), collection, api, url=url)


def test_a_name_that_the_dns_does_not_know(api):
    store = MongoSessionStore("mongodb+srv://ann:s3cret@db.botsession.invalid/", api=api, timeout=2)
    with pytest.raises(StoreUnavailableError, match=r"db\.botsession\.invalid"):
        asyncio.run(store.init())
