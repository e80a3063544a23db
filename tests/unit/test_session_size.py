"""The size limit of sessions."""

import pytest
from kit.watched import ID, with_store

from botsession import Sessions, SessionTooLargeError


@pytest.mark.parametrize("lock", ["auto", "local"])
@pytest.mark.parametrize(
    ("state", "user", "size"),
    [({"text": "x" * 20}, None, 31 + 4), ({"text": "é" * 10}, None, 31 + 4), ({}, {"name": "x" * 20}, 2 + 31)],
)
def test_a_session_that_is_too_large_is_refused_before_the_store_is_asked(lock, state, user, size):
    async def scenario(store):
        sessions = Sessions(store, lock=lock, max_session_size=size)
        async with sessions.turn(ID) as session:
            session.state, session.user = state, user
        before = await sessions.read(ID)
        assert (before.state, before.user) == (state, user)
        store.calls.clear()
        smaller = Sessions(store, lock=lock, max_session_size=size - 1)
        with pytest.raises(
            SessionTooLargeError, match=f"{ID}.* has {size} bytes of JSON, and at most {size - 1} are allowed"
        ):
            async with smaller.turn(ID) as session:
                session.expires_in = 5
        assert "commit" not in store.calls
        assert await sessions.read(ID) == before
        assert store._leases == {}

    with_store(scenario)


def test_a_session_that_is_too_large_already_can_be_made_smaller():
    async def scenario(store):
        async with Sessions(store).turn(ID) as session:
            session.state["text"] = "x" * 1000
        sessions = Sessions(store, max_session_size=100)
        async with sessions.turn(ID) as session:
            session.state["text"] = "x"
        assert (await sessions.read(ID)).state == {"text": "x"}

    with_store(scenario)
