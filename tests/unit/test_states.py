"""States, typed or not, hold JSON values only."""

import asyncio
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botsession import (
    ConfigError,
    CorruptSessionError,
    Session,
    Sessions,
    StateError,
)
from botsession.states import json_values
from botsession.storage import records

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_json_can_hold_comes_back_the_same(value):
    back = msgspec.json.decode(json_values.encode(value))
    assert repr(back) == repr(value)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    ADA = "ada"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Table(dict):
    pass


class Row(list):
    pass


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1, 2},
        b"x",
        float("inf"),
        float("-inf"),
        float("nan"),
        2**63,
        -(2**63) - 1,
        10**30,
        Colour.RED,
        Level.LOW,
        Name.ADA,
        Text("a"),
        Number(1),
        Real(1.5),
        Table(a=1),
        Row([1]),
        OrderedDict(a=1),
        defaultdict(int, a=1),
        Point(1, 2),
        frozenset({1}),
        bytearray(b"x"),
        date(2026, 1, 2),
        Decimal(1),
        {Text("a"): 1},
        {Name.ADA: 1},
        {1: 1},
        {None: 1},
        {"\udfff": 1},
        object(),
        msgspec.UNSET,
    ],
    ids=lambda value: "object" if type(value) is object else repr(value),
)
def test_everything_else_is_refused_with_its_path(value):
    with pytest.raises(StateError) as error:
        json_values.encode({"a": [0, {"b c": value}]})
    assert error.value.path.startswith("$.state.a[1]['b c']")


def test_long_digits_in_a_text_are_no_integer():
    assert json_values.encode({"snowflake": "9" * 30}) == b'{"snowflake":"%b"}' % (b"9" * 30)
    assert json_values.encode([2**63 - 1, -(2**63)])


@pytest.mark.parametrize("integer", [2**63, 2**64 - 1, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_found_wherever_it_stands(integer):
    for length in range(24):
        with pytest.raises(StateError, match="does not fit into 64 bits"):
            json_values.encode({"text": "a" * length, "number": integer})


def test_an_integer_beyond_64_bits_is_found_however_deep_it_stands():
    value, path = 2**63, ""
    for level in range(10):
        value, path = {"a": [0, value]}, ".a[1]" + path
        with pytest.raises(StateError, match="does not fit into 64 bits") as caught:
            json_values.encode(value)
        assert caught.value.path == f"$.state{path}", f"at level {level}"
        assert json_values.encode({"a": [2**63 - 1, nested(2 * level + 2)]})


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("identifier", [1234567890123456789, -1234567890123456789])
def test_a_large_state_is_stored_as_it_is(identifier):
    state = {"history": [{"user": identifier, "said": [number, str(identifier)]} for number in range(200)]}
    assert msgspec.json.decode(json_values.encode(state)) == state


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (2**63, "$.state.history[150].said"),
        (nested(64), "$.state.history[150].said"),
        ((1,), "$.state.history[150].said"),
        ({1: 1}, "$.state.history[150].said"),
        (Text("a"), "$.state.history[150].said"),
        (OrderedDict(a=1), "$.state.history[150].said"),
        (float("nan"), "$.state.history[150].said"),
    ],
    ids=["too great", "too deep", "a tuple", "a number as key", "a subclass of str", "of dict", "not a number"],
)
def test_what_a_large_state_must_not_hold_is_found_in_it(found, path):
    state = {"history": [{"said": "hello"} for _ in range(200)]}
    state["history"][150]["said"] = found
    with pytest.raises(StateError) as caught:
        json_values.encode(state)
    assert caught.value.path.startswith(path)


def test_nesting_is_bounded():
    assert json_values.encode(nested(64))
    assert json_values.encode([[] for _ in range(1000)])
    for levels in (65, 5000):
        with pytest.raises(StateError, match="nested deeper than 64 levels"):
            json_values.encode(nested(levels))


class StructState(msgspec.Struct):
    count: int = 0
    tags: list[str] = []


@dataclass
class DataclassState:
    count: int = 0
    tags: list[str] = field(default_factory=list)


@attrs.define
class AttrsState:
    count: int = 0
    tags: list[str] = attrs.field(factory=list)


class DictState(TypedDict):
    count: int
    tags: list[str]


@pytest.mark.parametrize("state_type", [StructState, DataclassState, AttrsState])
def test_typed_state(state_type):
    async def scenario():
        async with Sessions("memory", state_type=state_type) as sessions:
            async with sessions.turn("telegram:42") as session:
                assert type(session.state) is state_type
                session.state.count += 1
                session.state.tags.append("a")
            async with sessions.turn("telegram:42") as session:
                session.set_state({"tags": ["b"]})
            stored = await sessions.store.read("telegram:42")
            assert stored.state == {"count": 1, "tags": ["b"]}
            async with sessions.turn("telegram:42") as session:
                with pytest.raises(StateError, match=r"no such field\. Use one of count, tags"):
                    session.set_state({"cuont": 1})
                with pytest.raises(StateError, match=r"\$\.state\.count"):
                    session.set_state({"count": "one"})
                session.reset_state()
            assert (await sessions.read("telegram:42")).state == state_type()

    asyncio.run(scenario())


def test_a_typed_dict_is_checked_as_well():
    async def scenario():
        initial = DictState(count=0, tags=[])
        async with Sessions("memory", state_type=DictState, initial_state=initial) as sessions:
            async with sessions.turn("telegram:42") as session:
                session.state["count"] += 1
            with pytest.raises(StateError, match=r"\$\.state\.count"):
                async with sessions.turn("telegram:42") as session:
                    session.state["count"] = "two"  # type: ignore[typeddict-item]  # the mistake under test
            assert (await sessions.read("telegram:42")).state == {"count": 1, "tags": []}

    asyncio.run(scenario())


def test_stored_state_that_does_not_fit_names_the_field_and_stays():
    async def scenario():
        async with Sessions("memory") as untyped, Sessions(untyped.store, state_type=StructState) as typed:
            async with untyped.turn("telegram:42") as session:
                session.state = {"count": 1, "tags": ["a", 2]}
            before = await untyped.read("telegram:42")
            with pytest.raises(StateError, match=r"\$\.state\.tags\[1\].*Expected `str`.*StructState"):
                async with typed.turn("telegram:42"):
                    pass
            with pytest.raises(StateError):
                await typed.read("telegram:42")
            assert await untyped.read("telegram:42") == before

    asyncio.run(scenario())


def test_a_value_of_the_wrong_type_is_refused_at_the_write():
    async def scenario():
        async with Sessions("memory", state_type=StructState) as sessions:
            with pytest.raises(StateError, match=r"\$\.state\.count"):
                async with sessions.turn("telegram:42") as session:
                    session.state.count = "one"
            assert await sessions.read("telegram:42") is None

    asyncio.run(scenario())


class Strict(msgspec.Struct):
    name: str


def test_the_initial_state_is_checked_at_once():
    with pytest.raises(ConfigError, match="Give an initial_state"):
        Sessions("memory", state_type=Strict)
    with pytest.raises(StateError, match="name"):
        Sessions("memory", state_type=Strict, initial_state={"nmae": "Ada"})
    with pytest.raises(StateError, match=r"initial_state\.when"):
        Sessions("memory", initial_state={"when": object()})
    assert Sessions("memory", state_type=Strict, initial_state=Strict("Ada")).initial_state() == Strict("Ada")


def test_the_initial_state_is_copied_for_each_session():
    initial = {"cart": []}

    async def scenario():
        async with Sessions("memory", initial_state=initial) as sessions:
            async with sessions.turn("telegram:1") as session:
                session.state["cart"].append("tea")
            async with sessions.turn("telegram:2") as session:
                assert session.state == {"cart": []}

    asyncio.run(scenario())
    assert initial == {"cart": []}


@pytest.mark.parametrize("length", ["0", "-1", "1e300", "0.00000001"])
def test_a_stored_lifetime_that_is_none_is_unreadable(length):
    raw = records.encode(Session("telegram:1", version="a")).replace(
        b'"state":{}', b'"state":{},"expires_in":' + length.encode()
    )
    with pytest.raises(CorruptSessionError, match="expires_in"):
        records.decode(raw, "telegram:1", store="here")
