"""Damaged sessions raise a clear error, keep every byte in place, and affect no other session."""

from __future__ import annotations

import asyncio
import contextlib

import backends
import pytest
from faults.damages import stored

from botsession import CorruptSessionError, SessionConflictError, Sessions

ID = "damaged:42"


@pytest.fixture(params=backends.LASTING)
def backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


@pytest.fixture
def below(backend):
    """Yield access to the stored data that bypasses the sessions."""
    ((driver, options),) = backend["stores"].items()
    with stored(driver, options) as found:
        yield found


def put(below, raw):
    """Replace the session with damaged bytes; return what is stored afterwards."""
    below.put(ID, raw)
    return below.get(ID)


def count(session):
    session.state["count"] = session.state.get("count", 0) + 1


async def begun(sessions, below, chance):
    """Store a session; return its bytes and a damaged version of them."""
    await sessions.update(ID, lambda session: session.set_state({"cart": ["tea", "mílk"], "note": 'a "quote"'}))
    raw = below.get(ID)
    return raw, below.damaged(raw, chance)


def test_a_damaged_session(backend, below, chance, figures):
    """No turn starts and nothing changes until the operator decides what to do."""

    async def refused(sessions, raw):
        async def turn():
            async with sessions.turn(ID):
                raise AssertionError("the handler was called")

        def change(session):
            raise AssertionError("the function was called")

        for attempt in (turn, lambda: sessions.update(ID, change), lambda: sessions.read(ID)):
            with pytest.raises(CorruptSessionError) as caught:
                await attempt()
            assert caught.value.session_id == ID
            assert below.plain(caught.value.raw) == raw
            assert ID in str(caught.value)
            assert below.get(ID) == raw

    async def main():
        async with Sessions(backend) as sessions:
            raw, damaged = await begun(sessions, below, chance)
            for each in damaged:
                await refused(sessions, put(below, each))
            below.put(ID, raw)
            assert (await sessions.read(ID)).state["cart"] == ["tea", "mílk"]
            below.put(ID, damaged[0])
            await sessions.destroy(ID)
            await sessions.update(ID, count)
            assert (await sessions.read(ID)).state == {"count": 1}
            return len(damaged)

    damages = asyncio.run(main())
    figures(f"{backend['driver']}, {damages} kinds of damage: each reported, each left byte for byte", damages=damages)


def test_other_sessions_go_on(backend, below, chance):
    """Concurrent turns of other sessions, stored in the same steps, are not affected."""
    ids = [f"sound:{number}" for number in range(10)]

    async def main():
        async with Sessions(backend) as sessions:
            _, damaged = await begun(sessions, below, chance)
            for each in damaged:
                there = put(below, each)
                turns = [sessions.update(session_id, count) for session_id in ids]
                turns.insert(chance.randrange(len(ids)), sessions.update(ID, count))
                outcomes = await asyncio.gather(*turns, return_exceptions=True)
                errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
                assert [type(error) for error in errors] == [CorruptSessionError]
                assert below.get(ID) == there
            for session_id in ids:
                assert (await sessions.read(session_id)).state == {"count": len(damaged)}

    asyncio.run(main())


@pytest.mark.parametrize("changes", [True, False], ids=["changed", "unchanged"])
def test_a_session_that_is_damaged_during_its_turn(backend, below, chance, changes):
    """The turn raises and leaves the damage, or stores its complete changed state: never a part of it."""

    async def main():
        async with Sessions(backend) as sessions:
            raw, damaged = await begun(sessions, below, chance)
            for each in damaged:
                below.put(ID, raw)
                turn = sessions.turn(ID)
                session = await turn.__aenter__()
                there = put(below, each)
                if changes:
                    session.state["cart"].append("bread")
                    with contextlib.suppress(CorruptSessionError, SessionConflictError):
                        await turn.__aexit__(None, None, None)
                        assert (await sessions.read(ID)).state == session.state
                        continue
                else:
                    await turn.__aexit__(None, None, None)
                assert below.get(ID) == there

    asyncio.run(main())


async def listed(store):
    """Return all listed ids. A page may be empty although more pages follow."""
    found, after = set(), None
    while True:
        page = await store.scan(after=after)
        found |= {info.id for info in page.sessions}
        after = page.next
        if after is None:
            return found


def test_recovery(backend, below, chance):
    """Recovery quarantines unreadable data on request, and the session starts over."""

    async def main():
        async with Sessions(backend, initial_state={"count": 0}) as sessions:
            _, damaged = await begun(sessions, below, chance)
            places = []
            for each in damaged:
                below.put(ID, each)
                places.append(await sessions.recover(ID))
                assert below.get(ID) is None
                assert await sessions.read(ID) is None
                await sessions.update(ID, count)
                assert (await sessions.read(ID)).state == {"count": 1}
                assert await sessions.recover(ID) is None
                assert (await sessions.read(ID)).state == {"count": 1}
            assert len(set(places)) == len(damaged)
            assert await sessions.recover("damaged:absent") is None
            assert await listed(sessions.store) == {ID}

    asyncio.run(main())


def test_recovery_beside_turns(backend, below, chance):
    """Recovery concurrent with turns destroys none of their data."""

    async def main():
        async with Sessions(backend) as here, Sessions(backend) as there:
            _, damaged = await begun(here, below, chance)
            for each in damaged[:8]:
                below.put(ID, each)
                outcomes = await asyncio.gather(
                    here.recover(ID),
                    *(sessions.update(ID, count) for sessions in (here, there) * 3),
                    there.recover(ID),
                    return_exceptions=True,
                )
                refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
                assert all(isinstance(outcome, CorruptSessionError) for outcome in refused), refused
                assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
                session = await here.read(ID)
                assert (0 if session is None else session.state["count"]) == 6 - len(refused)
                await here.destroy(ID)

    asyncio.run(main())
