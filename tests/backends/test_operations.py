"""The operations that the commands use, on every backend."""

from __future__ import annotations

import asyncio
import datetime as dt

import backends
import pytest

from botsession import (
    ConfigError,
    CorruptSessionError,
    Session,
    SessionConflictError,
    StateError,
    Step,
    UnsupportedError,
    open_store,
    utc_now,
)
from botsession_operations import (
    delete,
    delete_prefix,
    find_existing,
    pages,
    purge,
    save_edited,
    statistics,
    watch,
)

SOON = 0.05
LATER = dt.timedelta(minutes=20)


class Clock:
    def __init__(self):
        self.ahead = dt.timedelta()

    def __call__(self):
        return utc_now() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=backends.NAMES)
def on_store(request, tmp_path, clock):
    """Run an asynchronous function on an open store with the test's clock."""

    def on_store(function):
        async def main():
            options = backends.options(request.param, tmp_path)
            if request.param == "mongo":
                options["timeout"] = 30  # a batch of a thousand keeps the test server busy for seconds
            store = open_store(request.param, expires_in=10, clock=clock, **options)
            await store.init()
            try:
                await function(store)
                async for _ in delete_prefix(store, "telegram:"):
                    pass
            finally:
                await store.close()

        asyncio.run(main())

    return on_store


@pytest.fixture
def bare_store():
    class Bare:
        def __init__(self):
            self.kept = {}

        async def init(self):
            return self

        async def read(self, session_id):
            if self.kept.get(session_id) == "broken":
                raise CorruptSessionError(session_id, store="Bare()", raw=b"broken", reason="broken")
            return self.kept.get(session_id)

        async def write(self, session_id, session):
            self.kept[session_id] = session

        async def destroy(self, session_id):
            self.kept.pop(session_id, None)

    return Bare()


async def fill(store, count, **state):
    sessions = [Session(f"telegram:{number:04}", {"number": number, **state}) for number in range(count)]
    assert await store.commit([Step.replace(session, None) for session in sessions]) == [None] * count
    return [session.id for session in sessions]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
def test_a_limit_of_none_at_all_is_refused(on_store, limit):
    async def check(store):
        with pytest.raises(ConfigError, match="limit is not a number of sessions"):
            await store.scan(limit=limit)
        with pytest.raises(ConfigError, match="limit is not a number of sessions"):
            await listed(store, limit=limit)

    on_store(check)


def test_all_go_by_the_clock_of_the_store(on_store, clock):
    async def check(store):
        [gone] = await fill(store, 1)
        clock.ahead = dt.timedelta(days=400)
        await store.write("telegram:later", Session("telegram:later"))
        assert (await statistics(store)).ending == {"hour": 1}
        assert await find_existing(store, [gone, "telegram:later"]) == ["telegram:later"]
        for session_id, version in ((gone, None), ("telegram:later", (await store.read("telegram:later")).version)):
            async for found in watch(store, session_id):
                assert (found and found.version) == version
                break

    on_store(check)


def test_what_has_expired_in_a_store_that_keeps_it_is_absent(bare_store):
    async def check():
        past, future = utc_now() - LATER, utc_now() + LATER
        bare_store.kept = {
            name: Session(name, {}, None, past, past, end, version="a")
            for name, end in {"a:gone": past, "a:there": future, "a:always": None}.items()
        }
        assert await find_existing(bare_store, list(bare_store.kept)) == ["a:there", "a:always"]
        async for found in watch(bare_store, "a:gone"):
            assert found is None
            break

    asyncio.run(check())


async def listed(store, *arguments, **options):
    return [info.id async for page in pages(store, *arguments, **options) for info in page.sessions]


def test_pages_hold_everything_that_has_not_expired(on_store, clock):
    async def check(store):
        ids = await fill(store, 1234)
        await store.write("other:1", Session("other:1"))
        assert sorted(await listed(store)) == ["other:1", *ids]
        assert sorted(await listed(store, "telegram:")) == ids
        assert await listed(store, "telegram:nobody") == []
        clock.ahead = LATER
        assert await listed(store) == []

    on_store(check)


@pytest.mark.parametrize("limit", [100, 600])
def test_pages_end_at_the_limit_and_go_on_after_it(on_store, limit):
    async def check(store):
        ids = await fill(store, 1234)
        found = []
        after = None
        for _ in range(200):
            page = None
            some = []
            async for page in pages(store, after=after, limit=limit):
                some += [info.id for info in page.sessions]
            assert page.next is None or len(some) >= limit
            assert len(some) < 1.5 * limit
            found += some
            after = page.next
            if after is None:
                break
        assert sorted(set(found)) == ids

    on_store(check)


def test_statistics(on_store):
    async def check(store):
        await fill(store, 20)
        large = Session("telegram:large", {"text": "x" * 10_000}, expires_in=None)
        await store.write(large.id, large)
        found = await statistics(store, "telegram:")
        assert (found.sessions, found.unreadable, found.measured) == (21, 0, 21)
        assert found.active == {utc_now().date(): 21}
        assert found.ending == {"hour": 20, "never": 1}
        assert found.largest.id == large.id
        assert 10_000 < found.largest.size < found.size
        assert found.sizes[16_384] == 1
        assert sum(found.sizes.values()) == 21
        assert (await statistics(store, "nobody")).sessions == 0

    on_store(check)


def test_delete_removes_those_and_no_others(on_store):
    async def check(store):
        ids = await fill(store, 1234)
        doomed = [*ids[:700], "telegram:absent"]
        assert await find_existing(store, doomed) == doomed[:-1]
        assert [count async for count in delete(store, doomed)] == [500, 201]
        assert sorted(await listed(store)) == ids[700:]

    on_store(check)


def test_delete_by_prefix(on_store):
    async def check(store):
        ids = await fill(store, 1234)
        await store.write("telegram", Session("telegram"))
        assert sum([count async for count in delete_prefix(store, "telegram:00")]) == 100
        assert sorted(await listed(store)) == ["telegram", *ids[100:]]
        assert sum([count async for count in delete_prefix(store, "telegram:")]) == 1134
        assert await listed(store) == ["telegram"]
        with pytest.raises(ValueError, match="every session"):
            await anext(delete_prefix(store, ""))

    on_store(check)


def test_purge(on_store, clock):
    async def check(store):
        await fill(store, 30)
        clock.ahead = LATER
        if hasattr(store, "purge"):
            assert await purge(store) == 30
            assert await purge(store) == 0
        else:
            with pytest.raises(UnsupportedError, match="'purge'"):
                await purge(store)

    on_store(check)


def test_an_edited_session_keeps_its_deadline(on_store, clock):
    async def check(store):
        await fill(store, 1)
        read = await store.read("telegram:0000")
        deadline, version = read.expires_at, read.version
        clock.ahead = dt.timedelta(minutes=5)
        read.state, read.user = {"by": "hand"}, {"name": "Ada"}
        await save_edited(store, read)
        after = await store.read("telegram:0000")
        assert (after.state, after.user, after.expires_at) == ({"by": "hand"}, {"name": "Ada"}, deadline)
        assert after.version == read.version != version

    on_store(check)


def test_an_edit_is_refused_after_another_write(on_store):
    async def check(store):
        await fill(store, 1)
        read = await store.read("telegram:0000")
        await store.write("telegram:0000", Session("telegram:0000", {"by": "the bot"}))
        read.state = {"by": "hand"}
        with pytest.raises(SessionConflictError):
            await save_edited(store, read)
        assert (await store.read("telegram:0000")).state == {"by": "the bot"}
        read = await store.read("telegram:0000")
        await store.destroy("telegram:0000")
        with pytest.raises(SessionConflictError):
            await save_edited(store, read)
        assert await store.read("telegram:0000") is None

    on_store(check)


def test_a_touch_meanwhile_is_no_reason_to_refuse_an_edit_and_is_not_undone(on_store, clock):
    async def check(store):
        await fill(store, 1)
        read = await store.read("telegram:0000")
        clock.ahead = dt.timedelta(minutes=5)
        renewed = read.expires_at + dt.timedelta(minutes=5)
        assert await store.touch("telegram:0000", renewed)
        read.state = {"by": "hand"}
        await save_edited(store, read)
        after = await store.read("telegram:0000")
        assert (after.state, after.expires_at) == ({"by": "hand"}, renewed)
        assert after.last_activity > after.created_at

    on_store(check)


def test_an_edit_that_json_cannot_hold_is_refused(on_store):
    async def check(store):
        await fill(store, 1)
        read = await store.read("telegram:0000")
        read.state = {"number": float("nan")}
        with pytest.raises(StateError):
            await save_edited(store, read)
        assert (await store.read("telegram:0000")).state == {"number": 0}

    on_store(check)


def test_watching_sees_each_version(on_store):
    async def check(store):
        seen = watch(store, "telegram:1", interval=SOON)
        assert await anext(seen) is None
        session = Session("telegram:1", {"count": 1})
        for count in (1, 2):
            session.state["count"] = count
            await store.write(session.id, session)
            assert (await anext(seen)).state == {"count": count}
        await store.touch(session.id, session.expires_at + dt.timedelta(minutes=1))
        waiting = asyncio.ensure_future(anext(seen))
        await asyncio.sleep(4 * SOON)
        assert not waiting.done()
        await store.destroy(session.id)
        assert await waiting is None
        await seen.aclose()

    on_store(check)


def test_a_store_without_powers(bare_store):
    async def check():
        for call in (anext(pages(bare_store)), statistics(bare_store), anext(delete_prefix(bare_store, "x"))):
            with pytest.raises(UnsupportedError, match="Bare cannot list its sessions: it lacks the capability 'scan'"):
                await call
        with pytest.raises(UnsupportedError, match="'purge'"):
            await purge(bare_store)
        with pytest.raises(UnsupportedError, match="'replace'"):
            await save_edited(bare_store, Session("x"))
        bare_store.kept |= {"x": Session("x"), "y": "broken"}
        assert await find_existing(bare_store, ["x", "y", "z"]) == ["x", "y"]
        assert [count async for count in delete(bare_store, ["x", "y", "z"])] == [3]
        assert bare_store.kept == {}

    asyncio.run(check())


def test_watching_an_unreadable_session(bare_store):
    async def check():
        bare_store.kept["x"] = "broken"
        seen = watch(bare_store, "x", interval=SOON)
        assert isinstance(await anext(seen), CorruptSessionError)
        await bare_store.destroy("x")
        assert await anext(seen) is None
        await seen.aclose()

    asyncio.run(check())
