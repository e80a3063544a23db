"""Unreadable records and unreachable backends are errors, and errors disclose no secrets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from botsession.errors import (
    CorruptSessionError,
    SessionConflictError,
    StoreError,
    StoreUnavailableError,
)
from botsession.protocol import (
    Step,
    SupportsClose,
    SupportsCommit,
    SupportsExpiry,
    SupportsPurge,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import SessionInfo
from botsession.testing.bench import (
    ID,
    AnyStore,
    Bench,
    scenario,
)
from botsession.testing.calls import accepted, calls, when_it_is_back
from botsession.testing.hooks import Hooks

SECRET = "s3cr3t-of-the-kit"  # noqa: S105 - it protects nothing


class _Recorder(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@contextlib.contextmanager
def _listening(told: list[str], store_type: type) -> Iterator[None]:
    """Record what is logged, and at every level what the driver's own package logs."""
    handler = _Recorder(told)
    own = [logging.getLogger(name) for name in ("botsession", store_type.__module__.partition(".")[0])]
    levels = [logger.level for logger in own]
    logging.getLogger().addHandler(handler)
    try:
        for logger in own:
            logger.setLevel(logging.DEBUG)
        yield
    finally:
        for logger, level in zip(own, levels, strict=True):
            logger.setLevel(level)
        logging.getLogger().removeHandler(handler)


class Faults(Hooks):
    """Faults, for suites with the hooks `corrupt`, `unreachable` and `outage`."""

    async def _damage(self, bench: Bench) -> tuple[str, bytes]:
        """Store two sessions and damage the first; return its version and the `raw` of its error."""
        session = await bench.write(state={"count": 1})
        await bench.write("kit:2", {"count": 2})
        await self.corrupt(bench.store, ID)
        return session.version, await self._raw(bench)

    async def _raw(self, bench: Bench) -> bytes:
        with pytest.raises(CorruptSessionError) as caught:
            await bench.store.read(ID)
        return caught.value.raw

    @scenario()
    async def test_a_corrupt_session_is_an_error(self, bench: Bench) -> None:
        await self._damage(bench)
        with pytest.raises(CorruptSessionError) as caught:
            await bench.store.read(ID)
        assert caught.value.session_id == ID
        assert type(caught.value.raw) is bytes
        assert caught.value.store
        assert (await bench.stored("kit:2")).state == {"count": 2}

    @scenario(SupportsReplace)
    async def test_a_corrupt_session_is_not_replaced(self, bench: Bench) -> None:
        version, raw = await self._damage(bench)
        for expected in (None, "", version[:-1]):
            with pytest.raises((SessionConflictError, CorruptSessionError)):
                await bench.store.replace(ID, bench.session(), expected=expected)
            assert await self._raw(bench) == raw

    @scenario(SupportsTouch)
    async def test_a_corrupt_session_is_not_repaired_by_a_touch(self, bench: Bench) -> None:
        await self._damage(bench)
        with contextlib.suppress(CorruptSessionError):
            await bench.store.touch(ID, None)
        await self._raw(bench)

    @scenario()
    async def test_a_corrupt_session_can_be_destroyed(self, bench: Bench) -> None:
        await self._damage(bench)
        await bench.store.destroy(ID)
        assert await bench.store.read(ID) is None

    @scenario()
    async def test_a_corrupt_session_can_be_written_over(self, bench: Bench) -> None:
        await self._damage(bench)
        await bench.write(state={"count": 3})
        assert (await bench.stored()).state == {"count": 3}

    @scenario(SupportsScan)
    async def test_a_corrupt_session_is_reported_by_a_scan(self, bench: Bench) -> None:
        await self._damage(bench)
        found: dict[str, SessionInfo] = {}
        unreadable: list[CorruptSessionError] = []
        after: str | None = None
        for _ in range(10_000):
            page = await bench.store.scan(after=after, limit=1)
            found |= {info.id: info for info in page.sessions}
            unreadable += page.unreadable
            after = page.next
            if after is None:
                break
        assert after is None, "the scan does not end"
        assert "kit:2" in found, "the other session is missing"
        assert unreadable or ID in found, "the scan is silent about the corrupt session"
        assert {error.session_id for error in unreadable} <= {ID}

    @scenario(SupportsCommit)
    async def test_a_corrupt_session_is_its_own_outcome_in_a_batch(self, bench: Bench) -> None:
        _, raw = await self._damage(bench)
        outcomes = await bench.store.read_many(["kit:2", ID, "kit:absent"])
        assert isinstance(outcomes[1], CorruptSessionError)
        assert outcomes[1].session_id == ID
        assert [outcomes[0], outcomes[2]] == [await bench.stored("kit:2"), None]
        entries = [Step.replace(bench.session("kit:3"), None), Step.replace(bench.session(), None)]
        stored, refused = await bench.store.commit(entries)
        assert stored is None
        assert isinstance(refused, SessionConflictError | CorruptSessionError)
        assert await self._raw(bench) == raw
        assert await bench.store.commit([Step.remove(ID)]) == [None]
        assert await bench.store.read(ID) is None

    @scenario(SupportsPurge)
    async def test_a_corrupt_session_is_not_purged(self, bench: Bench) -> None:
        _, raw = await self._damage(bench)
        assert await bench.store.purge() == 0
        assert await self._raw(bench) == raw

    @scenario(SupportsPurge, SupportsExpiry, expires_in=10)
    async def test_an_expired_corrupt_session_is_not_purged(self, bench: Bench) -> None:
        if self.expires_by_itself:
            pytest.skip("the backend of this driver removes expired records itself")
        await bench.write()
        await self.corrupt(bench.store, ID)
        raw = await self._raw(bench)
        await bench.age(10)
        assert await bench.store.purge() == 0
        if type(self).age is Hooks.age:
            await bench.age(-10)
            assert await self._raw(bench) == raw

    @scenario()
    async def test_an_unreachable_backend_is_an_error(self, bench: Bench) -> None:
        async with self._unreachable(bench) as store:
            with pytest.raises(StoreUnavailableError) as caught:
                await (await store.init()).read(ID)
            assert caught.value.__cause__ is not None, "the exception of the backend is not the cause"
            assert await accepted(store) == []

    @scenario()
    async def test_a_lost_backend_is_an_error(self, bench: Bench) -> None:
        before = await bench.write(state={"count": 1})
        async with self._losing(bench) as (store, outage):
            await store.read(ID)
            each = calls(store, bench.session(state={"count": 2}), before)
            async with outage():
                outcomes = await asyncio.gather(*(call() for call in each.values()), return_exceptions=True)
        for name, outcome in zip(each, outcomes, strict=True):
            for error in outcome if isinstance(outcome, list) and outcome else [outcome]:
                assert isinstance(error, StoreUnavailableError), f"the outcome of {name} is {error!r}"
                assert error.__cause__ is not None, (
                    f"the exception of the backend is not the cause of the error of {name}"
                )

    @scenario()
    async def test_a_backend_that_comes_back_is_used_again(self, bench: Bench) -> None:
        before = await bench.write(state={"count": 1})
        async with self._losing(bench) as (store, outage):
            async with outage():
                with pytest.raises(StoreUnavailableError):
                    await store.read(ID)
            assert await when_it_is_back(store, ID) == before
            after = bench.session(state={"count": 2})
            await store.write(ID, after)
            assert await store.read(ID) == after

    @contextlib.asynccontextmanager
    async def _losing(
        self, bench: Bench
    ) -> AsyncIterator[tuple[AnyStore, Callable[[], contextlib.AbstractAsyncContextManager[None]]]]:
        """Yield a store and a function that cuts it off from its backend: the hook `outage`, or else a proxy."""
        if type(self).outage is Hooks.outage and type(self).address is not Hooks.address:
            async with bench.proxied() as (proxy, store):
                yield store, proxy.refusing
        else:
            yield bench.store, lambda: self.outage(bench.store)

    @scenario()
    async def test_secrets_are_not_disclosed(self, bench: Bench) -> None:
        told: list[str] = []
        with _listening(told, type(bench.store)):
            async with self._unreachable(bench) as store:
                told += [repr(store), str(store)]
                with pytest.raises(StoreError) as caught:
                    await (await store.init()).read(ID)
                error: BaseException | None = caught.value
                while error is not None:
                    told += [str(error), repr(error)]
                    error = error.__cause__ or error.__context__
        assert not [text for text in told if SECRET in text]

    @contextlib.asynccontextmanager
    async def _unreachable(self, bench: Bench) -> AsyncIterator[AnyStore]:
        store = bench.make(**self.unreachable(SECRET))
        try:
            yield store
        finally:
            if isinstance(store, SupportsClose):
                await store.close()
