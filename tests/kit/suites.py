"""The suites for the reference, for a store of four methods, and for their mutants."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass

import pytest
from kit.reference import Client, Reference

from botsession.testing import StoreContract

FOLDER = tempfile.TemporaryDirectory(prefix="botsession-mutants-")


class ReferenceSuite(StoreContract):
    store_type = Reference
    shared = True
    examples = 30
    time_limit = 3

    def options(self, namespace):
        return {"place": namespace}

    def elsewhere(self, namespace):
        pytest.skip("the reference lives in one process")

    async def corrupt(self, store, session_id):
        key = store.key(session_id)
        store.entries[key] = store.entries[key][:-10] + b"\xff"

    async def quarantined(self, store, where):
        return store.quarantined[where]

    async def footprint(self, store):
        return [*store.entries.items(), *store.leases.items(), *store.quarantined.items()]

    @contextlib.asynccontextmanager
    async def handed_in(self, namespace):
        client = Client()
        client.is_open = True
        yield {"client": client}

    @contextlib.asynccontextmanager
    async def outage(self, store):
        store.lost = True
        yield
        store.lost = False

    def unreachable(self, secret):
        return {"down": True, "password": secret}


class Bare:
    """A store of four methods: it neither stamps nor expires its sessions."""

    def __init__(self, place=""):
        self.inner = Reference(place)
        self.inner.stamp = self.inner.check_state = lambda session: None

    async def init(self):
        await self.inner.init()
        return self

    async def read(self, session_id):
        return await self.inner.read(session_id)

    async def write(self, session_id, session):
        await self.inner.write(session_id, session)

    async def destroy(self, session_id):
        await self.inner.destroy(session_id)


class BareSuite(StoreContract):
    store_type = Bare
    examples = 30
    time_limit = 3

    def options(self, namespace):
        return {"place": namespace}

    async def corrupt(self, store, session_id):
        store.inner.entries[session_id] = b"{"


class FileSuite(StoreContract):
    shared = True
    time_limit = 20

    def options(self, namespace):
        return {"dirname": f"{FOLDER.name}/{namespace}"}


@dataclass
class Mutant:
    store_type: type
    suite: type[StoreContract]
    tests: tuple[str, ...]


MUTANTS: list[Mutant] = []


def caught_by(*tests, suite=ReferenceSuite):
    """Register a broken store with the tests of the kit that must fail for it."""

    def register(store_type):
        MUTANTS.append(Mutant(store_type, type(suite.__name__, (suite,), {"store_type": store_type}), tests))
        return store_type

    return register
