"""A proxy that simulates network failures between a store and the server, and every operation to try through it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest

import servers
from botsession import Session, StoreUnavailableError
from botsession.protocol import Step
from botsession_redis import RedisSessionStore

ID = "telegram:42"


class Proxy:
    """A proxy between a store and the server; `mode` selects the fault.

    pass: none. hang: swallow what the client sends. lose: forward it, await `in_between`, then cut the connection
    instead of returning the reply. cut: cut the connection instead of forwarding.
    """

    def __init__(self):
        self.port = int(servers.redis_url().split(":")[2])
        self.mode = "pass"
        self.in_between = None
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
                    if self.in_between is not None:
                        await self.in_between()
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
        await asyncio.sleep(0.01)  # connections just accepted are being served by then, and can be stopped
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


@contextlib.asynccontextmanager
async def a_server_that_answers(answers):
    """Run a server that answers each command by name from a table; yield its port and the names it received."""
    received = []

    async def serve(reader, writer):
        try:
            while True:
                words = []
                for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                received.append(words[0])
                writer.write(answers.get(words[0], b"-ERR unknown command\r\n"))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received
