"""States that outlive deployments: each bot has one more migration than the previous one."""

import asyncio

import msgspec
import pytest

from botsession import Sessions, StateError, open_store
from botsession.testing import ManualClock
from botsession_memory import MemorySessionStore
from botsession_operations import rehearse


def split_name(state):
    first, _, last = state.pop("name").partition(" ")
    return {**state, "first": first, "last": last}


def count_visits(state):
    state["visits"] = 1
    return state


class Person(msgspec.Struct):
    first: str
    last: str
    visits: int


async def first_bot(store):
    await Sessions(store).update("telegram:42", lambda session: session.set_state({"name": "Ada Lovelace"}))


def test_a_state_of_an_older_shape_becomes_todays_at_the_read():
    async def scenario():
        store = await open_store("memory").init()
        await first_bot(store)
        second = Sessions(store, migrations=[split_name])
        assert (await second.read("telegram:42")).state == {"first": "Ada", "last": "Lovelace"}
        third = Sessions(store, migrations=[split_name, count_visits])
        async with third.turn("telegram:42") as session:
            session.state["visits"] += 1
        stored = await store.read("telegram:42")
        assert stored.state == {"first": "Ada", "last": "Lovelace", "visits": 2}
        assert stored.shape == 2
        assert (await third.read("telegram:42")).state["visits"] == 2

    asyncio.run(scenario())


def test_a_turn_that_changes_nothing_does_not_store_the_migrated_state():
    async def scenario():
        store = await open_store("memory").init()
        await first_bot(store)
        before = await store.read("telegram:42")
        async with Sessions(store, migrations=[split_name]).turn("telegram:42"):
            pass
        assert await store.read("telegram:42") == before

    asyncio.run(scenario())


def test_typed_state_is_checked_after_the_migrations():
    async def scenario():
        store = await open_store("memory").init()
        await first_bot(store)
        initial = Person("", "", 0)
        sessions = Sessions(store, state_type=Person, initial_state=initial, migrations=[split_name, count_visits])
        assert (await sessions.read("telegram:42")).state == Person("Ada", "Lovelace", 1)
        async with sessions.turn("telegram:43") as session:
            session.state.visits = 7
        assert (await store.read("telegram:43")).shape == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("migrations", "reason"),
    [
        ([lambda state: {"first": state["nmae"]}], "failed: KeyError: 'nmae'"),
        ([lambda state: state.clear()], "returned NoneType, and not the new state"),
        ([], "has been through 1 migrations and this bot has 0, so a newer version of the bot has stored it"),
    ],
)
def test_what_does_not_work_is_told_and_the_stored_session_stays(migrations, reason):
    async def scenario():
        store = await open_store("memory").init()
        if migrations:
            await first_bot(store)
        else:
            await Sessions(store, migrations=[split_name]).update(
                "telegram:42", lambda session: session.set_state({"a": 1})
            )
        before = await store.read("telegram:42")
        with pytest.raises(StateError, match=reason):
            async with Sessions(store, migrations=migrations).turn("telegram:42"):
                pass
        assert await store.read("telegram:42") == before

    asyncio.run(scenario())


def test_a_rehearsal_over_a_whole_store_changes_nothing():
    async def scenario():
        store = await open_store("memory").init()
        await first_bot(store)
        nameless, current = Sessions(store), Sessions(store, migrations=[split_name])
        await nameless.update("telegram:43", lambda session: session.set_state({"nick": "Bob"}))
        await current.update("telegram:44", lambda session: session.set_state({"first": "Eve", "last": "Hill"}))
        before = [await store.read(f"telegram:{number}") for number in (42, 43, 44)]
        found = await rehearse(current, "telegram:")
        assert (found.sessions, found.migrated, list(found.failed)) == (3, 1, ["telegram:43"])
        assert "split_name" in str(found.failed["telegram:43"])
        typed = await rehearse(
            Sessions(store, migrations=[split_name, count_visits], state_type=Person, initial_state=Person("", "", 0))
        )
        assert (typed.sessions, typed.migrated, list(typed.failed)) == (3, 2, ["telegram:43"])
        assert (await rehearse(current, "whatsapp:")).sessions == 0
        assert [await store.read(f"telegram:{number}") for number in (42, 43, 44)] == before

    asyncio.run(scenario())


@pytest.mark.parametrize("methods", [("read", "write", "destroy"), ("read", "write", "destroy", "replace")], ids=len)
def test_a_session_that_is_due_is_renewed_before_it_is_migrated(methods):
    class WithoutTouch:
        def __init__(self, inner):
            self.lifetime = inner.lifetime
            self.init = inner.init
            for name in methods:
                setattr(self, name, getattr(inner, name))

    class Named(msgspec.Struct):
        name: str

    async def scenario():
        clock = ManualClock()
        inner = await MemorySessionStore(expires_in=10, clock=clock).init()
        await Sessions(inner).update("telegram:42", lambda session: session.set_state({"called": "Ada"}))
        clock.advance(minutes=8)
        sessions = Sessions(
            WithoutTouch(inner),
            state_type=Named,
            initial_state=Named(""),
            migrations=[lambda state: {"name": state["called"]}],
        )
        async with sessions.turn("telegram:42") as session:
            assert session.state == Named("Ada")
            clock.advance(minutes=8)  # the start of the turn renewed the deadline
            session.state.name = "Bob"
        assert (await sessions.read("telegram:42")).state == Named("Bob")

    asyncio.run(scenario())
