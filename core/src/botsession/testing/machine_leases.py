"""The same model with leases, which end only when they are released."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from botsession.errors import SessionConflictError
from botsession.protocol import (
    Claim,
    Held,
    Step,
    SupportsCommit,
    SupportsLease,
)
from botsession.testing.bench import Bench
from botsession.testing.leases import LONG, A, B
from botsession.testing.machine import StoreMachine, entries, has

holders: st.SearchStrategy[str] = st.sampled_from([A, B])
leased: st.SearchStrategy[str] = st.sampled_from(["a", "b"])


class LeasingMachine(StoreMachine):
    """A model that also knows the holder of each lease, and who may be waiting for it."""

    def __init__(self, bench: Bench, run: Callable[[Coroutine[Any, Any, Any]], Any], prefix: str) -> None:
        super().__init__(bench, run, prefix)
        self.held: dict[str, str] = {}
        self.waiting: defaultdict[str, set[str]] = defaultdict(set)

    def give_up(self, session_id: str, holder: str) -> None:
        """Remove a lease or a place in its queue from the model."""
        self.waiting[session_id].discard(holder)
        if self.held.get(session_id) == holder:
            del self.held[session_id]

    def forget(self, session_id: str) -> None:
        super().forget(session_id)
        self.held.pop(session_id, None)

    @has(SupportsLease)
    @rule(name=leased, holder=holders)
    def claim(self, name: str, holder: str) -> None:
        session_id = self.prefix + name
        current = self.held.get(session_id)
        [outcome] = self.run(self.bench.store.lease_many([Claim(session_id, holder, LONG, LONG)]))
        if isinstance(outcome, Held):
            assert current != holder, "its own holder was refused"
            assert current or self.waiting[session_id] - {holder}, (
                "refused although the lease is free and nobody else waits"
            )
            self.waiting[session_id].add(holder)
        else:
            assert current in (None, holder), f"granted although {current!r} holds the lease"
            self.waiting[session_id].discard(holder)
            self.held[session_id] = holder
            self.compare(session_id, outcome)

    @has(SupportsLease)
    @rule(name=leased, holder=holders)
    def renew(self, name: str, holder: str) -> None:
        session_id = self.prefix + name
        [renewed] = self.run(self.bench.store.renew_leases({session_id: holder}, LONG))
        assert renewed is (self.held.get(session_id) == holder)

    @has(SupportsLease)
    @rule(chosen=st.lists(leased, unique=True), holder=holders)
    def release(self, chosen: list[str], holder: str) -> None:
        ids = [self.prefix + name for name in chosen]
        self.run(self.bench.store.release_leases(dict.fromkeys(ids, holder)))
        for session_id in ids:
            self.give_up(session_id, holder)

    @has(SupportsLease)
    @has(SupportsCommit)
    @rule(entry=entries, holder=holders)
    def replace_and_release(self, entry: tuple[str, dict[str, Any], str], holder: str) -> None:
        name, state, kind = entry
        session = self.new(name, state)
        expected, right = self.expected(session.id, kind)
        right = right and self.held.get(session.id) == holder
        [outcome] = self.run(self.bench.store.commit([Step.replace(session, expected, holder)]))
        assert (outcome is None) is right
        if outcome is None:
            self.remember(session)
            self.give_up(session.id, holder)
        else:
            assert isinstance(outcome, SessionConflictError)
