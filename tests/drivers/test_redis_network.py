"""The Redis driver where the network fails: every answer is an error within the timeout, and no answer is somebody else's."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import random
import shutil
import ssl
import subprocess
import time
import uuid
import warnings

import pytest
from redis.asyncio import Redis
from redis_setups import closing

import servers
from botsession import (
    Session,
    SessionConflictError,
    Sessions,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from botsession.protocol import (
    ANYTHING,
    Claim,
    Step,
)
from botsession_redis import RedisSessionStore

ID = "telegram:42"


class Proxy:
    """Stands between a store and the server; `mode` says what it does to what passes.

    pass: nothing. hang: swallows what the client sends. lose: passes it on, and cuts the connection instead of passing
    back the answer, after `meanwhile`. cut: cuts the connection instead of passing it on.
    """

    def __init__(self):
        self.port = int(servers.redis_url().split(":")[2])
        self.mode = "pass"
        self.meanwhile = None
        self.writers = set()
        self.serving = set()

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        self.writers.add(writer)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.add(server_writer)
        both = (writer, server_writer)
        await asyncio.gather(
            self.pump(reader, server_writer, ("hang", "cut"), both), self.pump(server_reader, writer, ("lose",), both)
        )

    async def pump(self, reader, writer, modes, both):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.mode in modes and self.mode != "hang":
                    self.mode = "pass"
                    if self.meanwhile is not None:
                        await self.meanwhile()
                    break
                if self.mode not in modes:
                    writer.write(data)
        for each in both if self.mode == "pass" else ():
            each.close()

    def cut(self):
        for writer in self.writers:
            writer.close()

    async def stop(self):
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)
        self.cut()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)


@contextlib.asynccontextmanager
async def proxied(tls=None, **options):
    proxy = Proxy()
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{port}{options.pop('query', '')}"
    store = RedisSessionStore(url, key_prefix=uuid.uuid4().hex + ":", **options)
    try:
        yield proxy, store
    finally:
        await store.close()
        listener.close()
        await asyncio.sleep(0.01)  # what was just accepted is served by then, and can be stopped
        await proxy.stop()


def operations(store):
    session = Session(ID)
    return [
        store.ping,
        lambda: store.read(ID),
        lambda: store.write(ID, session),
        lambda: store.replace(ID, session, expected=None),
        lambda: store.touch(ID, None),
        lambda: store.destroy(ID),
        store.scan,
        lambda: store.read_many([ID, "t:1"]),
        lambda: store.commit([Step.replace(session, None), Step.replace(Session("t:1"), None)]),
        lambda: store.commit([Step.remove(ID), Step.remove("t:1")]),
    ]


async def fails(operation):
    with pytest.raises(StoreUnavailableError) as caught:
        await operation()
    assert caught.value.__cause__ is not None
    return str(caught.value)


def test_nobody_listens():
    async def main():
        port = servers.free_port()
        store = RedisSessionStore(host="127.0.0.1", port=port, password="hunter2")
        message = await fails(store.init)
        assert message.startswith(f"redis at 127.0.0.1:{port} does not answer: ")
        assert message.endswith("Check that it is running, and that the address is right.")
        assert "hunter2" not in message
        with pytest.raises(StoreError, match="init"):
            await store.read(ID)

    asyncio.run(main())


def test_an_unknown_host():
    async def main():
        await fails(RedisSessionStore(host="no-such-host.invalid", timeout=3).init)

    asyncio.run(main())


@pytest.mark.parametrize("number", range(10))
def test_a_hanging_server_is_told_in_time(number):
    async def main():
        async with proxied(timeout=0.2) as (proxy, store):
            await store.init()
            proxy.mode = "hang"
            began = time.monotonic()
            assert "did not answer within 0.2 s" in await fails(operations(store)[number])
            assert time.monotonic() - began < 1
            proxy.mode = "pass"
            await operations(store)[number]()

    asyncio.run(main())


@pytest.mark.parametrize("driver", ["rediss", "redis"])
def test_the_name_rediss_means_tls_without_a_url_as_well(driver):
    async def main():
        first_bytes = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            if not first_bytes.done():  # else it asks once more, why it was refused
                first_bytes.set_result(await reader.read(1))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = {"driver": driver, "stores": {"redis": {"host": "127.0.0.1", "port": port, "timeout": 2}}}
            await fails(open_store(settings).init)
            return await first_bytes

    tls_handshake = b"\x16"
    assert (asyncio.run(main()) == tls_handshake) == (driver == "rediss")


def test_a_server_that_hangs_from_the_beginning():
    async def main():
        async with proxied(timeout=0.2) as (proxy, store):
            proxy.mode = "hang"
            began = time.monotonic()
            await fails(store.init)
            assert time.monotonic() - began < 1
            proxy.mode = "pass"
            await store.init()
            assert await store.read(ID) is None

    asyncio.run(main())


def test_waiting_for_a_connection_counts():
    async def main():
        async with proxied(timeout=0.3, max_connections=1) as (proxy, store):
            await store.init()
            proxy.mode = "hang"
            began = time.monotonic()
            outcomes = await asyncio.gather(*(store.read(ID) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
            assert time.monotonic() - began < 2

    asyncio.run(main())


@pytest.mark.parametrize("number", range(10))
def test_connections_that_went_stale_do_not_matter(number):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.cut()
            await asyncio.sleep(0.02)
            await operations(store)[number]()

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
def test_a_lost_connection_neither_loses_nor_doubles_a_replace(mode):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session = Session(ID, {"n": 1})
            await store.replace(ID, session, expected=None)
            before = session.version
            proxy.mode = mode
            await store.replace(ID, session, expected=before)
            assert await store.read(ID) == session
            proxy.mode = mode
            # Refused, both times: but after a lost answer nobody knows that it was refused the first time.
            assert "closed the connection" in await fails(lambda: store.replace(ID, Session(ID), expected=before))
            with pytest.raises(SessionConflictError):
                await store.replace(ID, Session(ID), expected=before)

    asyncio.run(main())


MUST_BE_ABSENT = {3, 8}
"""Operations that create sessions which no lease protects."""


@pytest.mark.parametrize(
    ("mode", "number"),
    [("lose", number) for number in range(10) if number != 2]
    + [("cut", number) for number in range(10) if number != 2 and number not in MUST_BE_ABSENT],
)
def test_what_may_be_repeated_is(mode, number):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode = mode
            await operations(store)[number]()

    asyncio.run(main())


def destroyed(store):
    """Returns how somebody else destroys the session."""

    async def destroy():
        async with Redis.from_url(servers.redis_url()) as other:
            assert await other.unlink(*store._keys.pair(ID))

    return destroy


CREATING = {
    "replace": lambda store: store.replace(ID, Session(ID), expected=None),
    "restore": lambda store: outcome(store.commit([Step.restore(Session(ID, version="v1"), None)])),
}


async def outcome(call):
    [error] = await call
    if error is not None:
        raise error


@pytest.mark.parametrize("name", CREATING)
def test_a_repetition_never_creates_what_was_destroyed(name):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode, proxy.meanwhile = "lose", destroyed(store)
            await fails(lambda: CREATING[name](store))
            assert await store.read(ID) is None
            proxy.mode = "cut"
            proxy.meanwhile = None
            await fails(lambda: CREATING[name](store))
            assert await store.read(ID) is None
            proxy.mode = "lose"
            await CREATING[name](store)
            assert await store.read(ID) is not None

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_the_first_turn_of_a_session_where_the_network_fails(mode, lock):
    async def main(meanwhile):
        async with proxied() as (proxy, store):
            sessions = await Sessions(store, lock=lock).init()
            proxy.meanwhile = meanwhile and destroyed(store)
            turn = sessions.turn(ID)
            session = await turn.__aenter__()
            session.state["name"] = "Ada"
            proxy.mode = mode
            try:
                await turn.__aexit__(None, None, None)
            except StoreUnavailableError:
                return await store.read(ID), "not known"
            return await store.read(ID), "saved"

    stored, told = asyncio.run(main(meanwhile=False))
    if lock == "auto" or mode == "lose":
        assert (stored.state, told) == ({"name": "Ada"}, "saved")
    else:
        assert (stored, told) == (None, "not known")
    if mode == "lose":
        assert asyncio.run(main(meanwhile=True)) == (None, "not known")


@pytest.mark.parametrize(("mode", "error"), [("pass", SessionConflictError), ("cut", StoreUnavailableError)])
def test_a_destruction_in_the_first_turn_is_the_last_word(mode, error):
    async def main():
        async with proxied() as (proxy, store):
            sessions = await Sessions(store).init()
            with pytest.raises(error):
                async with sessions.turn(ID) as session:
                    session.state["name"] = "Ada"
                    other = await RedisSessionStore(servers.redis_url(), key_prefix=store._keys.prefix.decode()).init()
                    await other.destroy(ID)
                    await other.close()
                    proxy.mode = mode
            assert await store.read(ID) is None

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
@pytest.mark.parametrize("holder", ["held", None])
@pytest.mark.parametrize("expected", [True, False])
def test_a_removal_is_carried_out_once(mode, holder, expected):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session = Session(ID)
            await store.write(ID, session)
            if holder:
                await store.lease_many([Claim(ID, holder, ttl=60, again=1)])
            removal = Step.remove(ID, session.version if expected else ANYTHING, holder)
            proxy.mode = mode
            assert await store.commit([removal]) == [None]
            assert await store.read(ID) is None
            assert await store.lease_many([Claim(ID, "next", ttl=60, again=1)]) == [None]

    asyncio.run(main())


def test_a_removal_whose_answer_was_lost_removes_nothing_newer():
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session, newer = Session(ID), Session(ID, {"newer": True})
            await store.write(ID, session)

            async def write():
                other = await RedisSessionStore(servers.redis_url(), key_prefix=store._keys.prefix.decode()).init()
                await other.write(ID, newer)
                await other.close()

            proxy.mode, proxy.meanwhile = "lose", write
            await fails(lambda: store.commit([Step.remove(ID, session.version)]))
            assert await store.read(ID) == newer

    asyncio.run(main())


def test_a_quarantine_whose_answer_was_lost_tells_the_place():
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            async with Redis.from_url(servers.redis_url()) as client:
                await client.set(store._keys.session(ID), "unreadable")

                async def lose():
                    proxy.mode = "lose"

                read = store.read
                store.read = lambda session_id: losing(read(session_id), lose)
                place = await store.quarantine(ID)
                assert await client.get(ast.literal_eval(place.removeprefix("the key "))) == b"unreadable"

    async def losing(reading, lose):
        try:
            return await reading
        finally:
            await lose()

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
def test_a_write_is_never_sent_twice(mode):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode = mode
            await fails(lambda: store.write(ID, Session(ID)))

    asyncio.run(main())


def test_a_server_that_was_started_again():
    async def main():
        port = servers.free_port()
        with servers.redis_server(port=port):
            store = await RedisSessionStore(host="127.0.0.1", port=port).init()
            session = Session(ID)
            await store.replace(ID, session, expected=None)
            await asyncio.gather(*(store.read(ID) for _ in range(50)))
        async with closing(store):
            for operation in operations(store):
                await fails(operation)
            with servers.redis_server(port=port):
                assert await store.read(ID) is None
                await store.replace(ID, session, expected=None)
                assert await store.read(ID) == session

    asyncio.run(main())


def test_a_read_that_was_cancelled_disturbs_no_other():
    async def main():
        async with closing(
            RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", max_connections=4)
        ) as store:
            await store.init()
            ids = [f"t:{number}" for number in range(20)]
            await store.commit([Step.replace(Session(each, {"me": each, "pad": "x" * 20_000}), None) for each in ids])
            chance = random.Random(5)

            async def check(session_id):
                for each in [await store.read(session_id), *await store.read_many([session_id])]:
                    assert each.state["me"] == session_id

            for _ in range(20):
                tasks = [asyncio.create_task(check(each)) for each in ids]
                for task in tasks[::2]:
                    await asyncio.sleep(chance.random() * 0.002)
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(each) for each in outcomes} <= {type(None), asyncio.CancelledError}
            async with asyncio.timeout(5):
                await asyncio.gather(*(check(each) for each in ids * 5))
            assert store._connection._places._value == 4

    asyncio.run(main())


def test_many_tasks_wait_for_few_connections():
    async def main():
        async with closing(
            RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", timeout=20)
        ) as store:
            await store.init()
            await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(1024)))
            found = await asyncio.gather(*(store.read(f"t:{number}") for number in range(1024)))
            assert [each.id for each in found] == [f"t:{number}" for number in range(1024)]
            async with Redis.from_url(servers.redis_url()) as client:
                assert int((await client.info("clients"))["connected_clients"]) < 64

    asyncio.run(main())


def test_more_waiting_than_a_ready_client_has_connections():
    async def main():
        async with Redis.from_url(servers.redis_url(), max_connections=8) as client:
            store = RedisSessionStore(client=client, max_connections=8, key_prefix=uuid.uuid4().hex + ":")
            await store.init()
            await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(512)))

    asyncio.run(main())


def test_a_second_event_loop():
    store = RedisSessionStore(servers.redis_url(), key_prefix=uuid.uuid4().hex + ":", max_connections=2)

    async def use():
        await store.init()
        await asyncio.gather(*(store.write(f"t:{number}", Session(f"t:{number}")) for number in range(20)))

    async def forget():
        with pytest.raises(StoreError, match="another event loop"):
            await store.read("t:1")
        with pytest.raises(StoreError, match="another event loop"):
            await store.write("t:1", Session("t:1"))

    async def close():
        await store.close()
        await store.close()

    with warnings.catch_warnings():
        # Whoever lets a loop end without closing the store is warned by Python itself.
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(use())
        asyncio.run(forget())
        asyncio.run(use())
        asyncio.run(close())
        asyncio.run(use())
        asyncio.run(forget())
        gc.collect()
        asyncio.run(close())
        gc.collect()


def test_concurrent_init_and_use_after_close():
    async def main():
        store = RedisSessionStore(servers.redis_url())
        assert await asyncio.gather(*(store.init() for _ in range(10))) == [store] * 10
        await store.close()
        for operation in operations(store):
            with pytest.raises(StoreError, match="not open"):
                await operation()
        await store.init()
        await store.ping()
        await store.close()

    asyncio.run(main())


def test_close_while_others_wait():
    async def main():
        async with proxied(max_connections=3) as (proxy, store):
            await store.init()
            proxy.mode = "hang"
            tasks = [asyncio.create_task(store.read(ID)) for _ in range(40)]
            await asyncio.sleep(0.01)
            pool = store._connection._transport
            await store.close()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, StoreError) for each in outcomes)
            assert pool.sockets() == []
            assert not pool.idle

    asyncio.run(main())


def test_tls(tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def main():
        async with proxied(tls, query=f"?ssl_ca_certs={certificate}") as (_, store):
            await store.init()
            session = Session(ID)
            await store.replace(ID, session, expected=None)
            assert await store.read(ID) == session
        async with proxied(tls) as (_, store):
            assert "does not answer" in await fails(store.init)

    asyncio.run(main())
