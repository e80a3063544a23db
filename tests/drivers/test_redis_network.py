"""The Redis driver when the network fails: every call raises an error within the timeout."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time

import pytest
from redis_proxy import a_server_that_answers, fails, operations, proxied
from redis_setups import closing

import servers
from botsession import (
    Session,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from botsession_redis import RedisSessionStore

ID = "telegram:42"


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
            if not first_bytes.done():  # the client connects again, to find out why it was refused
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


def test_a_server_that_was_restarted():
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


def test_a_reply_too_many_is_given_to_nobody():
    async def main():
        answers = {b"PING": b"+PONG\r\n", b"GET": b"$-1\r\n$7\r\nanother\r\n"}
        async with (
            a_server_that_answers(answers) as (port, received),
            closing(RedisSessionStore(host="127.0.0.1", port=port)) as store,
        ):
            await store.init()
            for _ in range(3):
                assert await store.read(ID) is None
                await store.ping()
            assert received.count(b"GET") == 3

    asyncio.run(main())


def test_a_server_that_speaks_another_protocol():
    async def main():
        answers = {b"PING": b"HTTP/1.1 400 Bad Request\r\n"}
        async with (
            a_server_that_answers(answers) as (port, _),
            closing(RedisSessionStore(host="127.0.0.1", port=port)) as store,
        ):
            assert "does not answer: Protocol error" in await fails(store.init)
            answers[b"PING"] = b"+PONG\r\n"
            await store.init()

    asyncio.run(main())
