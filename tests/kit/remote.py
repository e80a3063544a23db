"""The reference store behind a server, which also keeps the rules for networks: time limits, retries, connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import socketserver
import struct
import threading
from typing import ClassVar

from kit.reference import Reference, is_removal, is_replacement
from kit.suites import ReferenceSuite

from botsession import (
    ONE_YEAR,
    Session,
    Step,
    StoreError,
    StoreUnavailableError,
    utc_now,
)
from botsession.testing import StoreContract

REMOTE = (
    "read", "write", "destroy", "replace", "touch", "scan", "read_many", "commit", "lease_many", "renew_leases",
    "release_leases", "quarantine", "purge", "ping", "diagnose",
)  # fmt: skip
HEAD = struct.Struct("!I")


class Served(Reference):
    """The store in the server: sessions arrive stamped, and a step that arrives twice is applied once."""

    def stamp(self, session):
        pass

    def is_mine(self, session):
        found = self.load(session.id)
        return found is not None and found.version == session.version

    def commit_now(self, step):
        if step.session is None or not self.is_mine(step.session):
            super().commit_now(step)


class Server(socketserver.ThreadingTCPServer):
    """A server that handles one request at a time."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.stores = {}
        self.refusing = set()
        self.lock = threading.Lock()
        threading.Thread(target=functools.partial(self.serve_forever, 0.05), daemon=True).start()

    def answer(self, request):
        place, name, arguments, keywords = pickle.loads(request)
        with self.lock:
            if place in self.refusing and name not in ("read", "ping"):
                return PermissionError("the reference may not be written to")
            step = getattr(self.stores[place], name)(*arguments, **keywords)
            try:
                while True:
                    step.send(None)
            except StopIteration as done:
                return done.value
            except Exception as error:
                return error


class Handler(socketserver.BaseRequestHandler):
    """The handler of one connection."""

    def handle(self):
        try:
            while head := self.request.recv(HEAD.size, 0x100):
                rest = self.request.recv(HEAD.unpack(head)[0], 0x100)
                answer = pickle.dumps(self.server.answer(rest))
                self.request.sendall(HEAD.pack(len(answer)) + answer)
        except (OSError, struct.error):
            return


@functools.cache
def server():
    """Return the server of this process."""
    return Server()


class Remote:
    """A store whose sessions are kept by the server.

    After a broken connection, a repeatable call is sent once more; after a timeout, nothing is.
    """

    served_type: ClassVar[type] = Served

    def __init__(self, place="", expires_in=ONE_YEAR, *, max_lifetime=None, port=0, time_limit=5, clock=utc_now):
        self.place, self.port, self.time_limit = place, port, time_limit
        self.near = self.served_type(place, expires_in, max_lifetime=max_lifetime, clock=clock)
        self.near.open = self.near.client.is_open = True
        server().stores.setdefault(place, self.near)
        self.lifetime = self.near.lifetime
        self.idle = []
        self.connections = set()
        self.open = False

    def __repr__(self):
        return "Remote()"

    async def init(self):
        await self.send("ping")
        self.open = True
        return self

    async def close(self):
        self.open = False
        self.idle.clear()
        for writer in list(self.connections):
            self.drop(writer)

    def drop(self, writer):
        self.connections.discard(writer)
        writer.transport.abort()

    def may_repeat(self, name, arguments):
        """Return whether the server recognizes a retry of the call; it recognizes stored sessions, not removed ones."""
        return name not in ("quarantine", "purge") and not (name == "commit" and any(map(is_removal, arguments[0])))

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port or server().server_address[1])
        self.connections.add(writer)
        return reader, writer

    async def send(self, name, *arguments, **keywords):
        try:
            async with asyncio.timeout(self.time_limit):
                try:
                    return await self.send_once(name, *arguments, **keywords)
                except (OSError, EOFError):
                    if not self.may_repeat(name, arguments) or not self.open:
                        raise
                    return await self.send_once(name, *arguments, **keywords)
        except (OSError, EOFError) as error:
            if name != "ping" and not self.open:
                raise StoreError("the reference was closed") from error
            raise StoreUnavailableError("the server does not answer") from error

    async def send_once(self, name, *arguments, **keywords):
        request = pickle.dumps((self.place, name, arguments, keywords))
        reader, writer = self.idle.pop() if self.idle else await self.connect()
        try:
            writer.write(HEAD.pack(len(request)) + request)
            head = await reader.readexactly(HEAD.size)
            outcome = pickle.loads(await reader.readexactly(HEAD.unpack(head)[0]))
        except BaseException:
            self.drop(writer)
            raise
        self.give_back(reader, writer, outcome)
        if isinstance(outcome, PermissionError):
            raise StoreError("the server refuses") from outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def give_back(self, reader, writer, outcome):
        if writer in self.connections:
            self.idle.append((reader, writer))

    def prepare(self, name, arguments, keywords):
        if not self.open:
            raise StoreError("the reference is not open")
        if name == "commit":
            steps = arguments[0]
        else:
            steps = [Step.replace(each) for each in arguments if isinstance(each, Session)]
        for step in steps:
            self.near.check_id(step.session_id)
        for step in steps:
            self.near.check_step(step)
        for step in filter(is_replacement, steps):
            self.lifetime.stamp(step.session)


def _method(name):
    async def call(self, *arguments, **keywords):
        self.prepare(name, arguments, keywords)
        return await self.send(name, *arguments, **keywords)

    call.__name__ = name
    return call


for _name in REMOTE:
    setattr(Remote, _name, _method(_name))


class RemoteSuite(ReferenceSuite):
    store_type = Remote

    def address(self):
        return server().server_address

    def through(self, namespace, host, port):
        return {"port": port, "time_limit": 0.3}

    async def corrupt(self, store, session_id):
        await super().corrupt(server().stores[store.place], session_id)

    async def footprint(self, store):
        return await super().footprint(server().stores[store.place])

    @contextlib.asynccontextmanager
    async def refusal(self, store):
        server().refusing.add(store.place)
        try:
            yield
        finally:
            server().refusing.discard(store.place)

    outage = StoreContract.outage
