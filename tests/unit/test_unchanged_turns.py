"""A turn that changes nothing writes nothing, and every change is noticed."""

import asyncio
import json
import math
from collections import OrderedDict
from enum import Enum, IntEnum

import msgspec
import pytest
from kit.watched import ID, set_text, text_of

from botsession import Sessions, StateError
from botsession_memory import MemorySessionStore


class Prices(msgspec.Struct):
    prices: list[float] = []
    name: str = ""


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


async def unchanged_turn(store, lay_out):
    """Store a session, reformat its text and run a turn that changes nothing; return the texts before and after."""
    sessions = Sessions(store, initial_state={"count": 0})
    await sessions.update(ID, lambda session: session.set_state({"count": 1}))
    before = set_text(store, lay_out(text_of(store)))
    async with sessions.turn(ID) as session:
        assert session.state == {"count": 1}
    return before, text_of(store)


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


@pytest.mark.parametrize("state_type", [None, Prices], ids=["untyped", "typed"])
@pytest.mark.parametrize(
    "lay_out",
    [
        lambda raw: json.dumps(json.loads(raw), indent=2).encode(),
        lambda raw: json.dumps(json.loads(raw)).encode(),
        lambda raw: raw.replace(b"1.5,", b"1.500,"),
        lambda raw: raw.replace(b"100.0", b"1e2"),
        lambda raw: raw.replace(b"Ada", rb"\u0041da"),
    ],
    ids=["indented", "spaced", "decimals", "exponent", "escaped"],
)
def test_values_are_compared_and_not_how_they_are_laid_out(lay_out, state_type):
    async def scenario():
        store = await MemorySessionStore().init()
        await Sessions(store).update(ID, lambda session: session.set_state({"prices": [1.5, 100.0], "name": "Ada"}))
        before = set_text(store, lay_out(text_of(store)))
        async with Sessions(store, state_type=state_type).turn(ID):
            pass
        assert text_of(store) == before
        async with Sessions(store).turn(ID) as session:
            session.state["name"] = "Bo"
        assert (await store.read(ID)).state["name"] == "Bo"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("stored", "assigned"),
    [
        (None, math.inf),
        (None, -math.inf),
        (None, math.nan),
        ([1, 2], (1, 2)),
        ([1], {1}),
        ("red", Colour.RED),
        ("eA==", b"x"),
        ({"1": 1}, {1: 1}),
        ({"a": 1}, OrderedDict(a=1)),
        (1, Level.LOW),
        ("a", Text("a")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("place", ["state", "user"])
def test_what_has_the_json_of_the_stored_value_is_refused_all_the_same(stored, assigned, place):
    async def scenario():
        async with Sessions("memory") as sessions:
            async with sessions.turn(ID) as session:
                setattr(session, place, {"a": [stored]})
            with pytest.raises(StateError) as caught:
                async with sessions.turn(ID) as session:
                    getattr(session, place)["a"][0] = assigned
            assert caught.value.path == f"$.{place}.a[0]"
            assert getattr(await sessions.read(ID), place) == {"a": [stored]}

    asyncio.run(scenario())


@pytest.mark.parametrize("change", [lambda state: {"b": 2, "a": 1}, lambda state: {"a": True, "b": 2}])
def test_another_order_of_keys_and_another_type_are_changes(change):
    async def scenario():
        async with Sessions("memory", initial_state={"a": 1, "b": 2}) as sessions:
            first = await sessions.update(ID, lambda session: session.set_state({"a": 1, "b": 2, "c": 3}))
            first = await sessions.update(ID, lambda session: session.state.pop("c"))
            async with sessions.turn(ID) as session:
                session.state = change(session.state)
            found = await sessions.read(ID)
            assert found.version != first.version
            assert repr(found.state) == repr(change(None))

    asyncio.run(scenario())
