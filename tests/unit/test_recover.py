"""An unreadable session is quarantined only on request."""

import asyncio

import pytest
from kit.watched import ID, count, set_text, steps, text_of, with_store

from botsession import (
    CorruptSessionError,
    InvalidSessionIdError,
    SessionConflictError,
    Sessions,
    UnsupportedError,
)


def spoil(store, session_id=ID):
    set_text(store, b'{"version":"00', session_id)


def test_a_turn_of_an_unreadable_session_leaves_it_and_says_what_to_do():
    async def scenario(store):
        sessions = Sessions(store, initial_state={"count": 0})
        await count(sessions)
        spoil(store)
        for _ in range(2):
            with pytest.raises(CorruptSessionError, match=r"sessions\.recover\(id\)"):
                async with sessions.turn(ID):
                    pytest.fail("the handler ran")
        assert text_of(store) == b'{"version":"00'
        assert store.quarantined == {}

    with_store(scenario)


def test_after_a_recovery_the_next_turn_starts_afresh_and_the_bytes_are_kept():
    async def scenario(store):
        sessions = Sessions(store, initial_state={"count": 0})
        for number in range(2):
            await count(sessions)
            spoil(store)
            where = await sessions.recover(ID)
            assert ID in where
            assert await sessions.read(ID) is None
            assert list(store.quarantined.values()) == [b'{"version":"00'] * (number + 1)
        await count(sessions)
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


def test_what_is_readable_or_absent_is_left_alone():
    async def scenario(store):
        sessions = Sessions(store)
        assert await sessions.recover(ID) is None
        await count(sessions)
        before = await sessions.read(ID)
        assert await sessions.recover(ID) is None
        assert await sessions.read(ID) == before
        assert store.quarantined == {}

    with_store(scenario)


def test_a_turn_that_was_running_saves_nothing_over_a_recovery():
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        with pytest.raises(SessionConflictError):
            async with sessions.turn(ID) as session:
                spoil(store)
                await sessions.recover(ID)
                session.state["count"] = 100
        assert await sessions.read(ID) is None
        assert store._leases == {}

    with_store(scenario)


def test_a_recovery_waits_for_no_turn():
    async def scenario(store):
        sessions = Sessions(store)
        await count(sessions)
        await store.hold()
        waiting = asyncio.create_task(count(sessions))
        await steps()
        spoil(store)
        assert await sessions.recover(ID) is not None
        await store.give_up()
        await waiting
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


@pytest.mark.parametrize("wrong", ["", "line\nfeed", None, 42])
def test_what_is_no_session_id_is_refused(wrong):
    async def scenario(store):
        with pytest.raises(InvalidSessionIdError):
            await Sessions(store).recover(wrong)

    with_store(scenario)


class FourMethods:
    def __init__(self):
        self.entries = {}

    async def init(self):
        return self

    async def read(self, session_id):
        return self.entries.get(session_id)

    async def write(self, session_id, session):
        self.entries[session_id] = session

    async def destroy(self, session_id):
        self.entries.pop(session_id, None)


def test_a_store_that_cannot_put_anything_aside_says_so():
    async def scenario(store):
        with pytest.raises(UnsupportedError, match=r"FourMethods cannot quarantine unreadable sessions.*'quarantine'"):
            await Sessions(store).recover(ID)

    with_store(scenario, FourMethods)
