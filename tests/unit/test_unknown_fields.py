"""Rollouts: fields that a newer version of the bot has written survive the turns of an older one."""

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from typing import TypedDict

import attrs
import msgspec
import pytest

from botsession import Sessions
from botsession.states.unknown_fields import carry
from botsession.storage import records
from botsession.testing import ManualClock

ID = "telegram:42"


@dataclass
class Address:
    city: str = ""


@attrs.define
class Item:
    name: str = ""
    number: int = 1


class Pet(TypedDict):
    name: str


class Old(msgspec.Struct):
    count: int = 0
    address: Address | None = None
    cart: list[Item] = []
    pets: dict[str, Pet] = {}
    by_seat: dict[int, Item] = {}
    pair: tuple[Item, Item] | None = None


@dataclass
class OldDataclass:
    count: int = 0
    cart: list[Item] = field(default_factory=list)


class OldDict(TypedDict):
    count: int


NEW = {
    "count": 1,
    "language": "fr",
    "address": {"city": "Bonn", "zip": "53111"},
    "cart": [{"name": "tea", "number": 1, "colour": "green"}, {"name": "milk", "number": 2, "fat": 3}],
    "pets": {"rex": {"name": "Rex", "kind": "dog"}, "tom": {"name": "Tom", "kind": "cat"}},
    "by_seat": {"7": {"name": "book", "number": 1, "pages": 9}},
    "pair": [{"name": "l", "number": 1, "x": 1}, {"name": "r", "number": 1, "x": 2}],
    "more": {"deep": [1, {"a": None}]},
}


def turn_of_an_older_bot(change, state_type=Old, initial_state=None, stored=NEW, **settings):
    """Return the stored state, and whether it is unchanged, after a turn of a bot that does not know all fields."""

    async def scenario():
        async with Sessions("memory") as new:
            await new.update(ID, lambda session: session.set_state(stored))
            before = await new.read(ID)
            old = Sessions(new.store, state_type=state_type, initial_state=initial_state, **settings)
            async with old.turn(ID) as session:
                change(session)
            after = await new.read(ID)
            return after.state, after.version == before.version

    return asyncio.run(scenario())


def test_a_turn_that_changes_nothing_writes_nothing():
    assert turn_of_an_older_bot(lambda session: None) == (NEW, True)


def count(session):
    session.state.count = 2


def set_state(session):
    session.set_state({"count": 2})


def assign(session):
    session.state = msgspec.structs.replace(session.state, count=2)


@pytest.mark.parametrize("change", [count, set_state, assign])
def test_unknown_fields_survive(change):
    state, _ = turn_of_an_older_bot(change)
    assert state == NEW | {"count": 2}


def test_they_survive_update_and_a_migration():
    async def scenario():
        def migration(state):
            state["count"] += 10
            return state

        async with Sessions("memory") as new:
            await new.update(ID, lambda session: session.set_state(NEW))
            old = Sessions(new.store, state_type=Old, migrations=[migration])
            saved = await old.update(ID, count)
            assert saved.state.count == 2
            assert (await Sessions(new.store, migrations=[migration]).read(ID)).state == NEW | {"count": 2}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("state_type", "initial", "change"),
    [
        (OldDataclass, None, lambda session: setattr(session.state, "count", 2)),
        (OldDict, {"count": 0}, lambda session: session.state.update(count=2)),
        (OldDict, {"count": 0}, lambda session: session.set_state({"count": 2})),
    ],
)
def test_whatever_the_type_is(state_type, initial, change):
    state, _ = turn_of_an_older_bot(change, state_type, initial)
    assert state == NEW | {"count": 2}


def test_they_stay_in_the_object_at_the_same_place():
    def change(session):
        session.state.address.city = "Ulm"
        session.state.pets["rex"]["name"] = "Max"
        session.state.by_seat[7].number = 5
        session.state.pair[1].number = 6

    state, _ = turn_of_an_older_bot(change)
    assert state["address"] == {"city": "Ulm", "zip": "53111"}
    assert state["pets"]["rex"] == {"name": "Max", "kind": "dog"}
    assert state["by_seat"]["7"] == {"name": "book", "number": 5, "pages": 9}
    assert state["pair"] == [NEW["pair"][0], {"name": "r", "number": 6, "x": 2}]


def test_they_go_with_what_is_removed():
    def change(session):
        session.state.address = None
        del session.state.pets["rex"]
        del session.state.cart[0]

    state, _ = turn_of_an_older_bot(change)
    assert (state["address"], list(state["pets"])) == (None, ["tom"])
    assert state["cart"] == [NEW["cart"][1]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda cart: cart.reverse(), [NEW["cart"][1], NEW["cart"][0]]),
        (lambda cart: cart.append(Item("new")), [*NEW["cart"], {"name": "new", "number": 1}]),
        (lambda cart: cart.insert(0, Item("new")), [{"name": "new", "number": 1}, *NEW["cart"]]),
        (
            lambda cart: setattr(cart[0], "number", 7),
            [{"name": "tea", "number": 7, "colour": "green"}, NEW["cart"][1]],
        ),
        (
            lambda cart: (setattr(cart[1], "number", 7), cart.append(Item("new"))),
            [NEW["cart"][0], {"name": "milk", "number": 7, "fat": 3}, {"name": "new", "number": 1}],
        ),
        (lambda cart: (cart.pop(0), setattr(cart[0], "number", 7)), [{"name": "milk", "number": 7}]),
    ],
    ids=["moved", "appended", "put before", "changed", "changed and appended", "removed and changed"],
)
def test_an_element_is_recognised_by_what_it_was(change, expected):
    state, _ = turn_of_an_older_bot(lambda session: change(session.state.cart))
    assert state["cart"] == expected


def test_a_reset_drops_them():
    state, _ = turn_of_an_older_bot(lambda session: session.reset_state())
    assert state == {"count": 0, "address": None, "cart": [], "pets": {}, "by_seat": {}, "pair": None}


def test_a_reset_of_what_looks_like_the_initial_state_drops_them_too():
    state, _ = turn_of_an_older_bot(lambda session: session.reset_state(), OldDict, {"count": 1})
    assert state == {"count": 1}


class Frozen(msgspec.Struct, frozen=True):
    name: str


class WithSet(msgspec.Struct):
    dishes: set[Frozen] = set()
    tail: list[int] = []


def test_members_of_a_set_are_not_taken_for_each_other():
    stored = {"dishes": [{"name": str(number), "spicy": number} for number in range(20)]}

    def change(session):
        session.state.dishes.discard(Frozen("3"))

    state, _ = turn_of_an_older_bot(change, WithSet, stored=stored)
    assert {dish["name"] for dish in state["dishes"]} == {str(number) for number in range(20)} - {"3"}
    assert all(dish.get("spicy", int(dish["name"])) == int(dish["name"]) for dish in state["dishes"])


def test_a_struct_that_is_stored_as_an_array_keeps_what_follows():
    assert carry([1, 2, 3], [1, 2], [5, 2]) == [5, 2, 3]


class WithoutTouch:
    """A store that renews a deadline only by a write."""

    def __init__(self):
        self.kept = {}

    async def init(self):
        return self

    async def read(self, session_id):
        kept = self.kept.get(session_id)
        return None if kept is None else records.decode(kept, session_id, store="WithoutTouch()")

    async def write(self, session_id, session):
        self.kept[session_id] = records.encode(session)

    async def destroy(self, session_id):
        self.kept.pop(session_id, None)


@pytest.mark.parametrize("minutes", [5, 8], ids=["at the end of the turn", "at its beginning"])
def test_they_survive_a_renewal_that_is_a_write(minutes):
    async def scenario():
        clock = ManualClock()
        store = WithoutTouch()
        await Sessions(store, clock=clock, expires_in=10).update(ID, lambda session: session.set_state(NEW))
        written = (await store.read(ID)).version
        clock.advance(minutes=minutes)
        old = Sessions(store, state_type=Old, migrations=[lambda state: state], clock=clock, expires_in=10)
        async with old.turn(ID):
            pass
        found = await store.read(ID)
        assert (found.state, found.expires_at) == (NEW, clock() + dt.timedelta(minutes=10))
        assert found.version != written

    asyncio.run(scenario())
