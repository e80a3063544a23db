"""The environment of one test: an open store, its clock, and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import pytest

from botsession.lifetime import Lifetime
from botsession.protocol import (
    CAPABILITIES,
    SessionStore,
    StoredSession,
    SupportsClose,
    SupportsCommit,
    SupportsDiagnosis,
    SupportsExpiry,
    SupportsLease,
    SupportsPing,
    SupportsPurge,
    SupportsQuarantine,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session, SessionInfo
from botsession.testing.clock import ManualClock
from botsession.testing.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from botsession.errors import CorruptSessionError
    from botsession.lifetime import Clock
    from botsession.protocol import ScanPage
    from botsession.testing.hooks import Hooks

    HooksT = TypeVar("HooksT", bound=Hooks)
    T = TypeVar("T")

ID = "kit:1"
"""The session id of a test that needs only one."""


class AnyStore(
    SessionStore,
    SupportsExpiry,
    SupportsClose,
    SupportsReplace,
    SupportsTouch,
    SupportsScan,
    SupportsCommit,
    SupportsLease,
    SupportsQuarantine,
    SupportsPurge,
    SupportsPing,
    SupportsDiagnosis,
    Protocol,
):
    """A store with every capability. A test names those that it uses, and is skipped if the store lacks one."""


class Bench:
    """The environment of one test: a namespace of its own, a clock, and the stores opened in it."""

    def __init__(self, contract: Hooks) -> None:
        self.contract = contract
        self.clock: ManualClock = ManualClock()
        self.namespace: str = f"kit-{uuid.uuid4().hex}"
        self.store: AnyStore
        self._opened: list[AnyStore] = []

    def make(self, suffix: str = "", *, clock: Clock | None = None, **options: Any) -> AnyStore:
        """Return a store that is not open, in the test's namespace with `suffix` appended."""
        return cast("AnyStore", self.contract.make_store(clock or self.clock, self.namespace + suffix, **options))

    async def open(self, suffix: str = "", **options: Any) -> AnyStore:
        """Return an open store. The bench closes it when the test ends."""
        store = self.adopt(self.make(suffix, **options))
        await store.init()
        return store

    @contextlib.asynccontextmanager
    async def proxied(self, **options: Any) -> AsyncIterator[tuple[Proxy, AnyStore]]:
        """Open a store that reaches the server through a proxy, and close both at the end."""
        async with Proxy(*self.contract.address()) as proxy:
            store = self.make(**{**self.contract.through(self.namespace, proxy.host, proxy.port), **options})
            try:
                await store.init()
                yield proxy, store
            finally:
                if isinstance(store, SupportsClose):
                    await store.close()

    def adopt(self, store: AnyStore) -> AnyStore:
        """Close a store when the test ends."""
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Close every store that was opened."""
        for store in reversed(self._opened):
            if isinstance(store, SupportsClose):
                await store.close()

    async def age(self, minutes: float) -> None:
        """Let time pass."""
        await self.contract.age(self.store, self.clock, minutes)

    def session(self, session_id: str = ID, state: dict[str, Any] | None = None, **rest: Any) -> StoredSession:
        """Return a new session, stamped if the store does not stamp it itself."""
        session = Session(session_id, {} if state is None else state, **rest)
        if not isinstance(self.store, SupportsExpiry):
            Lifetime(clock=self.clock).stamp(session)
        return session

    async def write(self, session_id: str = ID, state: dict[str, Any] | None = None, **rest: Any) -> StoredSession:
        """Store a new session, whatever was there, and return it as the store stamped it."""
        session = self.session(session_id, state, **rest)
        await self.store.write(session_id, session)
        return session

    async def stored(self, session_id: str = ID) -> StoredSession:
        """Return the session as a read finds it. It must be there."""
        session = await self.store.read(session_id)
        assert session is not None, f"session {session_id!r} is absent"
        return session

    async def scan(self, prefix: str = "", *, limit: int | None = None) -> dict[str, SessionInfo]:
        """Return the sessions that a scan finds, on all pages, by id."""
        pages = [page async for page in self._pages(prefix, limit)]
        return {info.id: info for page in pages for info in page.sessions}

    async def unreadable(self) -> dict[str, CorruptSessionError]:
        """Return the unreadable records that a scan finds, on all pages, by id."""
        pages = [page async for page in self._pages("", None)]
        return {error.session_id: error for page in pages for error in page.unreadable}

    async def _pages(self, prefix: str, limit: int | None) -> AsyncIterator[ScanPage]:
        after = None
        for _ in range(10_000):
            page = await self.store.scan(prefix, after=after, limit=limit)
            yield page
            after = page.next
            if after is None:
                return
        pytest.fail("the scan does not end: 10,000 pages, each with a `next`")


def later(bench: Bench, minutes: float) -> datetime:
    """Return the moment in so many minutes, in whole milliseconds."""
    moment = bench.clock() + timedelta(minutes=minutes)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@contextlib.contextmanager
def opened(
    contract: Hooks, *needs: type, shared: bool = False, **options: Any
) -> Iterator[tuple[Bench, Callable[[Coroutine[Any, Any, T]], T]]]:
    """Open a store in an event loop of its own; yield the bench and a function that runs a coroutine.

    Args:
        contract: The driver's suite.
        *needs: The capabilities without which the test is skipped.
        shared: Whether to skip the test if the driver's stores do not share their sessions.
        **options: Options of the store.
    """
    if shared and not contract.shared:
        pytest.skip("the stores of this driver do not share their sessions")
    bench = Bench(contract)
    with asyncio.Runner() as runner:

        def run(coroutine: Coroutine[Any, Any, T]) -> T:
            return runner.run(asyncio.wait_for(coroutine, contract.time_limit))

        bench.store = run(_open(bench, needs, options))
        try:
            yield bench, run
        finally:
            run(bench.close())


async def _open(bench: Bench, needs: tuple[type, ...], options: dict[str, Any]) -> AnyStore:
    if needs:
        require(bench.make(), *needs)
    return await bench.open(**options)


def require(store: SessionStore, *needs: type) -> None:
    """Skip the test if the store lacks a capability."""
    for need in needs:
        if not isinstance(store, need):
            capability = next(name for name, protocol in CAPABILITIES.items() if protocol is need)
            pytest.skip(f"the store does not support {capability!r} ({need.__name__})")


def scenario(
    *needs: type, shared: bool = False, **options: Any
) -> Callable[[Callable[[HooksT, Bench], Coroutine[Any, Any, None]]], Callable[[HooksT], None]]:
    """Make a test of a coroutine function, which runs with an open store in an event loop of its own.

    Args:
        *needs: The capabilities without which the test is skipped.
        shared: Whether to skip the test if the driver's stores do not share their sessions.
        **options: Options of the store.
    """

    def decorate(test: Callable[[HooksT, Bench], Coroutine[Any, Any, None]]) -> Callable[[HooksT], None]:
        @functools.wraps(test)
        def run_test(self: HooksT) -> None:
            with opened(self, *needs, shared=shared, **options) as (bench, run):
                run(test(self, bench))

        del run_test.__wrapped__
        return run_test

    return decorate
