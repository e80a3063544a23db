"""A turn that changes nothing: it compares with the text that was read, and so encodes the state only once."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botsession import Session, Sessions, records, utc_now
from botsession.lifetime import new_version
from botsession.testing.samples import AWKWARD_STATES
from botsession_memory import MemorySessionStore

ID = "telegram:42"
STATES = st.sampled_from(
    [*AWKWARD_STATES, {"user": None, "state": {}}, {"a": ',"user":null,"state":', "b": {"user": None, "state": 1}}]
)
USERS = st.none() | st.sampled_from([{}, {"a": {"id": ID, "user": None, "state": {}}}, {"n": ',"user":null,"state":'}])


@given(
    STATES, USERS, st.sampled_from([msgspec.UNSET, None, 1.5]), st.sampled_from([0, 3]), st.sampled_from([b"", b"\n"])
)
def test_the_state_that_was_read_is_the_one_that_would_be_encoded(state, user, expires_in, shape, end):
    now = utc_now()
    session = Session(ID, state, user, now, now, now, expires_in, new_version(), shape)
    read = records.decode(records.encode(session) + end, ID, store="a test")
    assert read.state == state
    plain = user is None and expires_in is msgspec.UNSET and not shape
    assert getattr(read, "_read", None) == (msgspec.json.encode(state) if plain else None)


async def unchanged_turn(store, lay_out):
    """Stores a session, has its record laid out anew, and runs a turn that changes nothing; returns both records."""
    sessions = Sessions(store, initial_state={"count": 0})
    await sessions.update(ID, lambda session: session.set_state({"count": 1}))
    before = store._entries[ID] = lay_out(store._entries[ID])
    async with sessions.turn(ID) as session:
        assert session.state == {"count": 1}
    return before, store._entries[ID]


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda raw: raw,
        lambda raw: raw.replace(b'"user":null,', b'"user": null, '),
        lambda raw: raw.replace(b'"user":null,', b'"user":{"name":"Ada"},'),
        lambda raw: raw.replace(b',"user":null,"state":{"count":1}', b',"state":{"count":1},"user":null'),
    ],
)
def test_a_turn_that_changes_nothing_writes_nothing(lay_out):
    async def scenario():
        before, after = await unchanged_turn(await MemorySessionStore().init(), lay_out)
        assert after == before

    asyncio.run(scenario())


def test_a_state_that_somebody_laid_out_is_written_as_it_would_be_encoded():
    async def scenario():
        store = await MemorySessionStore().init()
        before, after = await unchanged_turn(store, lambda raw: raw.replace(b'{"count":1}', b'{ "count": 1 }'))
        assert after != before
        assert (await store.read(ID)).state == {"count": 1}

    asyncio.run(scenario())
