"""A store compared with a plain model: whatever the order of calls, both agree."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from botsession.errors import SessionConflictError
from botsession.lifetime import new_version
from botsession.protocol import (
    ANYTHING,
    Step,
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsPurge,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import SessionInfo
from botsession.testing.bench import Bench, later
from botsession.testing.samples import exact, json_objects

EXPIRES_IN = 10

P = ParamSpec("P")

names: st.SearchStrategy[str] = st.sampled_from(["a", "A", "a/b", "b"])
lifetimes: st.SearchStrategy[Any] = st.sampled_from([..., ..., None, 3, 25.5])
expectations: st.SearchStrategy[str] = st.sampled_from(["current", "current", "absent", "old", "of another"])
entries: st.SearchStrategy[tuple[str, dict[str, Any], str]] = st.tuples(names, json_objects, expectations)
removals: st.SearchStrategy[tuple[str, str]] = st.tuples(
    names, st.sampled_from(["anything", "current", "old", "of another"])
)


def has(capability: type) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Run a rule only if the store has the capability."""
    return precondition(lambda machine: isinstance(machine.bench.store, capability))


class StoreMachine(RuleBasedStateMachine):
    """Calls a store in any order, and keeps a model of what it must contain.

    Args:
        bench: The bench of the open store, made with `expires_in=10`.
        run: Runs a coroutine.
        prefix: The beginning of the ids of this example, which no other example uses.
    """

    def __init__(self, bench: Bench, run: Callable[[Coroutine[Any, Any, Any]], Any], prefix: str) -> None:
        super().__init__()
        self.bench = bench
        self.run = run
        self.prefix = prefix
        self.model: dict[str, StoredSession] = {}
        self.versions: list[str] = []

    def known(self, session_id: str) -> StoredSession | None:
        """Return the session in the model."""
        session = self.model.get(session_id)
        expired = session is not None and session.expires_at is not None and session.expires_at <= self.bench.clock()
        return None if expired else session

    def new(self, name: str, state: dict[str, Any], own: Any = ...) -> StoredSession:
        """Return a session that was never stored."""
        rest = {} if own is ... else {"expires_in": own}
        return self.bench.session(self.prefix + name, copy.deepcopy(state), **rest)

    def remember(self, session: StoredSession) -> None:
        """Put a stored session into the model."""
        assert session.version not in self.versions, "a version was used twice"
        self.versions.append(session.version)
        if isinstance(self.bench.store, SupportsExpiry):
            length = EXPIRES_IN if session.expires_in is msgspec.UNSET else session.expires_in
            assert session.expires_at == (None if length is None else later(self.bench, length))
        self.model[session.id] = copy.deepcopy(session)

    def forget(self, session_id: str) -> None:
        """Remove a session from the model."""
        self.model.pop(session_id, None)

    def expected(self, session_id: str, kind: str) -> tuple[str | None, bool]:
        """Return a version to expect, and whether it is the right one."""
        current = self.known(session_id)
        version = None if current is None else current.version
        if kind == "absent" or not self.versions:
            wanted = None
        elif kind == "old":
            wanted = self.versions[0]
        elif kind == "of another":
            wanted = self.versions[-1]
        else:
            wanted = version
        return wanted, wanted == version

    def compare(self, session_id: str, found: StoredSession | None) -> None:
        """Compare a session in the store with the model."""
        known = self.known(session_id)
        assert found == known
        if found is not None and known is not None:
            assert exact([found.state, found.user]) == exact([known.state, known.user])

    @rule(name=names, state=json_objects, own=lifetimes)
    def write(self, name: str, state: dict[str, Any], own: Any) -> None:
        session = self.new(name, state, own)
        self.run(self.bench.store.write(session.id, session))
        self.remember(session)

    @rule(name=names, state=json_objects)
    def write_what_was_read(self, name: str, state: dict[str, Any]) -> None:
        session = self.run(self.bench.store.read(self.prefix + name))
        if session is not None and isinstance(self.bench.store, SupportsExpiry):
            session.state = copy.deepcopy(state)
            created = session.created_at
            self.run(self.bench.store.write(session.id, session))
            assert session.created_at == created
            self.remember(session)

    @rule(name=names)
    def destroy(self, name: str) -> None:
        self.run(self.bench.store.destroy(self.prefix + name))
        self.forget(self.prefix + name)

    @has(SupportsReplace)
    @rule(entry=entries)
    def replace(self, entry: tuple[str, dict[str, Any], str]) -> None:
        name, state, kind = entry
        session = self.new(name, state)
        expected, right = self.expected(session.id, kind)
        try:
            self.run(self.bench.store.replace(session.id, session, expected=expected))
        except SessionConflictError:
            assert not right, f"a conflict although {expected!r} is the version"
        else:
            assert right, f"no conflict although {expected!r} is not the version"
            self.remember(session)

    @has(SupportsTouch)
    @rule(name=names, minutes=st.sampled_from([None, 0.5, 5, 30]))
    def touch(self, name: str, minutes: float | None) -> None:
        session_id = self.prefix + name
        deadline = None if minutes is None else later(self.bench, minutes)
        known = self.known(session_id)
        assert self.run(self.bench.store.touch(session_id, deadline)) is (known is not None)
        if known is not None:
            self.model[session_id] = dataclasses.replace(known, expires_at=deadline, last_activity=later(self.bench, 0))

    @has(SupportsCommit)
    @rule(chosen=st.lists(names, max_size=6))
    def read_many(self, chosen: list[str]) -> None:
        ids = [self.prefix + name for name in chosen]
        for session_id, found in zip(ids, self.run(self.bench.store.read_many(ids)), strict=True):
            self.compare(session_id, found)

    @has(SupportsCommit)
    @rule(chosen=st.lists(entries, max_size=4, unique_by=lambda entry: entry[0]))
    def commit_replacements(self, chosen: list[tuple[str, dict[str, Any], str]]) -> None:
        sessions = [self.new(name, state) for name, state, _ in chosen]
        expected = [self.expected(session.id, entry[2]) for session, entry in zip(sessions, chosen, strict=True)]
        batch = [Step.replace(session, wanted[0]) for session, wanted in zip(sessions, expected, strict=True)]
        outcomes: Sequence[Exception | None] = self.run(self.bench.store.commit(batch))
        assert [outcome is None for outcome in outcomes] == [right for _, right in expected]
        for session, outcome in zip(sessions, outcomes, strict=True):
            if outcome is None:
                self.remember(session)
            else:
                assert isinstance(outcome, SessionConflictError)

    @has(SupportsCommit)
    @rule(name=names, state=json_objects, minutes=st.sampled_from([None, -1, 3, 30]), kind=expectations)
    def commit_restoration(self, name: str, state: dict[str, Any], minutes: float | None, kind: str) -> None:
        deadline = None if minutes is None else later(self.bench, minutes)
        moments: dict[str, Any] = {
            "created_at": later(self.bench, -9),
            "last_activity": later(self.bench, -1),
            "expires_at": deadline,
        }
        session = dataclasses.replace(self.new(name, state), version=new_version(), **moments)
        known = self.known(session.id)
        over = known if kind == "current" else None if kind == "absent" else dataclasses.replace(session, version="0")
        [outcome] = self.run(self.bench.store.commit([Step.restore(session, over)]))
        assert (outcome is None) is (over is known)
        if outcome is None:
            self.versions.append(session.version)
            self.model[session.id] = copy.deepcopy(session)

    @has(SupportsCommit)
    @rule(chosen=st.lists(removals, max_size=3, unique_by=lambda removal: removal[0]))
    def commit_removals(self, chosen: list[tuple[str, str]]) -> None:
        wanted = []
        outcomes = []
        for name, kind in chosen:
            expected, right = (None, True) if kind == "anything" else self.expected(self.prefix + name, kind)
            wanted.append(Step.remove(self.prefix + name, ANYTHING if expected is None else expected))
            outcomes.append(right or expected is None)
        found = self.run(self.bench.store.commit(wanted))
        assert [outcome is None for outcome in found] == outcomes
        for removal, outcome in zip(wanted, found, strict=True):
            if outcome is None:
                self.forget(removal.session_id)
            else:
                assert isinstance(outcome, SessionConflictError)

    @has(SupportsScan)
    @rule(begin=st.sampled_from(["", "a", "a/", "c"]), limit=st.sampled_from([None, 1, 2, 5]))
    def scan(self, begin: str, limit: int | None) -> None:
        prefix = self.prefix + begin
        known = [session for key in self.model if key.startswith(prefix) and (session := self.known(key))]
        told = {
            session.id: SessionInfo(
                session.id, session.created_at, session.last_activity, session.expires_at, session.version
            )
            for session in known
        }
        assert self.run(self.bench.scan(prefix, limit=limit)) == told

    @has(SupportsPurge)
    @rule()
    def purge(self) -> None:
        self.run(self.bench.store.purge())

    @has(SupportsExpiry)
    @rule(minutes=st.sampled_from([0.5, 2.5, 5, EXPIRES_IN]))
    def let_time_pass(self, minutes: float) -> None:
        self.run(self.bench.age(minutes))

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        for session_id in {self.prefix + "b", *self.model}:
            self.compare(session_id, self.run(self.bench.store.read(session_id)))
