"""Typed states: the supported types, what they hold, and what is refused."""

import asyncio
import datetime as dt
import decimal
import enum
import fractions
import math
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from botsession import ConfigError, Sessions, StateError

ID = "telegram:42"
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Name(enum.StrEnum):
    ADA = "ada"


class Text(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: int


class Dish(msgspec.Struct, frozen=True):
    name: str = ""


def takes_enum_keys() -> bool:
    """Return whether this msgspec encodes mappings with enum keys, as versions from 0.22 on do."""
    try:
        return msgspec.json.encode({Colour.RED: 1}) == b'{"red":1}'
    except TypeError:
        return False


class Rich(msgspec.Struct):
    seats: dict[int, str] = {}
    days: dict[dt.date, int] = {}
    colours: dict[Colour, int] = {}
    place: tuple[int, int] = (0, 0)
    path: tuple[str, ...] = ()
    point: Point = Point(0, 0)
    tags: frozenset[str] = frozenset()
    members: set[int] = set()
    dishes: frozenset[Dish] = frozenset()
    due: dt.datetime | None = None
    pause: dt.timedelta = dt.timedelta()
    price: decimal.Decimal = decimal.Decimal("1.10")
    key: uuid.UUID = uuid.UUID(int=1)
    raw: bytes = b""
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    flags: Flags = Flags.A
    name: Name = Name.ADA
    rate: float = 0


RICH = Rich(
    {7: "Ada", -1: "Bo"},
    {dt.date(2026, 1, 2): 3},
    {Colour.RED: 1} if takes_enum_keys() else {},
    (3, 4),
    ("a", "b"),
    Point(1, 2),
    frozenset({"a", "b"}),
    {1, 2},
    frozenset({Dish("soup"), Dish("tea")}),
    dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=9))),
    dt.timedelta(minutes=1.5),
    decimal.Decimal("3.30"),
    uuid.UUID(int=7),
    b"\x00\xff",
)


def test_what_msgspec_carries_comes_back():
    async def scenario():
        async with Sessions("memory", state_type=Rich) as sessions:
            async with sessions.turn(ID) as session:
                session.state = msgspec.structs.replace(RICH)
            first = await sessions.read(ID)
            assert first.state == RICH
            async with sessions.turn(ID) as session:
                assert session.state == RICH
                session.set_state({"seats": {8: "Cy"}, "members": {3}, "colour": "red"})
                session.state.place = (9, 9)
            found = (await sessions.read(ID)).state
            assert (found.seats, found.members, found.place, found.due) == ({8: "Cy"}, {3}, (9, 9), RICH.due)
            version = (await sessions.read(ID)).version
            async with sessions.turn(ID):
                pass
            assert (await sessions.read(ID)).version == version

    asyncio.run(scenario())


@pytest.mark.parametrize("number", ["NaN", "sNaN"])
def test_a_decimal_that_equals_nothing_is_refused(number):
    async def scenario():
        async with Sessions("memory", state_type=Rich) as sessions:
            with pytest.raises(StateError, match=r"^\$\.state\.price: "):
                async with sessions.turn(ID) as session:
                    session.state.price = decimal.Decimal(number)
            assert await sessions.read(ID) is None

    asyncio.run(scenario())


class Plain:
    def __init__(self) -> None:
        self.count = 0

    def __repr__(self) -> str:
        return "Plain()"


class Unresolved(TypedDict):
    cart: "list[Nowhere]"  # type: ignore[name-defined]  # noqa: F821 - the mistake under test


class Foreign(msgspec.Struct):
    plain: list[Plain] = []


class Inner(msgspec.Struct):
    ratio: dict[str, fractions.Fraction] = {}


class Outer(msgspec.Struct):
    inner: Inner | None = None


class Array(msgspec.Struct, array_like=True):
    count: int = 0


class Required(msgspec.Struct):
    count: int


class WrongDefault(msgspec.Struct):
    count: int = "one"  # type: ignore[assignment]  # the mistake under test


@dataclass
class Raises:
    count: int = 0

    def __post_init__(self) -> None:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("state_type", "reason"),
    [
        (NewType("Id", dict), "Id.*Use a msgspec.Struct"),
        (Unresolved, "Unresolved.*'Nowhere'"),
        (len, "len"),
        (Plain, "Plain.*Use a msgspec"),
        (42, "42"),
        ("State", "'State'"),
        (int, "int"),
        (list[int], r"list\[int\]"),
        (dict, "dict"),
        (Any, "Any"),
        (Dish | None, "Dish"),
        (Point, "Point"),
        (Foreign, "Foreign.*plain is Plain"),
        (Outer, r"Outer.*inner\.ratio is Fraction"),
        (Array, "Array.*array_like"),
        (Required, "Required.*Give an initial_state"),
        (WrongDefault, "WrongDefault.*count"),
        (Raises, "Raises.*Give an initial_state"),
    ],
    ids=str,
)
def test_a_type_that_cannot_be_used_is_told_at_once(state_type, reason):
    with pytest.raises(ConfigError, match=reason):
        Sessions("memory", state_type=state_type)


@pytest.mark.parametrize("migrations", [[1], "abc", len, [None], 7, [{"a": 1}]], ids=repr)
def test_what_is_no_migration_is_told_at_once(migrations):
    with pytest.raises(ConfigError, match="migration"):
        Sessions("memory", migrations=migrations)


def test_a_migration_is_a_plain_function():
    async def migration(state):
        return state

    with pytest.raises(ConfigError, match="the migration migration is async"):
        Sessions("memory", migrations=[migration])


def test_a_migration_that_leaves_what_json_cannot_hold_is_told():
    async def scenario():
        async with Sessions("memory") as old:
            await old.update(ID, lambda session: session.set_state({"a": 1}))
            new = Sessions(old.store, migrations=[lambda state: {"a": (1, 2)}])
            with pytest.raises(StateError, match=r"\$\.state\.a: a migration of session 'telegram:42'"):
                await new.read(ID)

    asyncio.run(scenario())


class Loose(msgspec.Struct):
    anything: Any = None
    text: str = ""
    texts: list[str] = []
    number: float | None = None
    count: int = 0
    counts: dict[int, int] = {}


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("anything", (1,), "anything"),
        ("anything", {"a": [(1,)]}, "anything.a[0]"),
        ("anything", {1: 2}, "anything"),
        ("anything", OrderedDict(a=1), "anything"),
        ("anything", Colour.RED, "anything"),
        ("anything", Level.LOW, "anything"),
        ("anything", Dish("tea"), "anything"),
        ("anything", [math.nan], "anything[0]"),
        ("anything", dt.datetime(2026, 1, 1), "anything"),  # noqa: DTZ001
        ("anything", b"x", "anything"),
        ("anything", {1, 2}, "anything"),
        ("anything", Plain(), "anything"),
        ("anything", 2**63, "anything"),
        ("text", Text("a"), "text"),
        ("text", Name.ADA, "text"),
        ("text", "\ud800", "text"),
        ("texts", ("a",), "texts"),
        ("texts", ["a", Text("b")], "texts[1]"),
        ("number", math.inf, "number"),
        ("number", math.nan, "number"),
        ("number", 2**60 + 1, "number"),
        ("count", True, "count"),
        ("count", Level.LOW, "count"),
        ("count", 1.0, "count"),
        ("counts", {Level.LOW: 1}, "counts"),
        ("counts", OrderedDict({1: 1}), "counts"),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["assigned", "set_state", "update"])
def test_a_value_that_would_come_back_as_another_is_refused(field, value, path, how):
    async def scenario():
        async with Sessions("memory", state_type=Loose) as sessions:
            await sessions.update(ID, lambda session: session.set_state({"text": "before"}))
            with pytest.raises(StateError) as caught:
                if how == "update":
                    await sessions.update(ID, lambda session: setattr(session.state, field, value))
                else:
                    async with sessions.turn(ID) as session:
                        if how == "assigned":
                            setattr(session.state, field, value)
                        else:
                            session.set_state({field: value})
            assert caught.value.path.startswith(f"$.state.{path}")
            assert (await sessions.read(ID)).state == Loose(text="before")

    asyncio.run(scenario())


def test_an_int_may_stand_for_a_float():
    async def scenario():
        async with Sessions("memory", state_type=Loose) as sessions:
            await sessions.update(ID, lambda session: session.set_state({"number": 3}))
            async with sessions.turn(ID) as session:
                session.state.number += 1
            assert (await sessions.read(ID)).state.number == 4

    asyncio.run(scenario())


@dataclass
class Account:
    owner: str = ""
    notes: list[str] = field(default_factory=list)


@attrs.frozen
class Frozen:
    owner: str = ""
    notes: list[str] = attrs.field(factory=list)


def test_a_field_that_the_type_does_not_have_is_not_dropped_in_silence():
    async def scenario():
        async with Sessions("memory", state_type=Account) as sessions:
            with pytest.raises(StateError, match=r"\$\.state\.onwer: Account has no such field"):
                async with sessions.turn(ID) as session:
                    session.state.onwer = "Ada"

    asyncio.run(scenario())


class Ticket(TypedDict):
    number: int
    due: NotRequired[dt.date]


def test_a_typed_dict_carries_what_its_type_says_and_nothing_else():
    async def scenario():
        async with Sessions("memory", state_type=Ticket, initial_state=Ticket(number=1)) as sessions:
            async with sessions.turn(ID) as session:
                session.state["due"] = dt.date(2026, 1, 2)
            assert (await sessions.read(ID)).state == {"number": 1, "due": dt.date(2026, 1, 2)}
            with pytest.raises(StateError, match=r"\$\.state\.colour"):
                async with sessions.turn(ID) as session:
                    session.state["colour"] = "red"

    asyncio.run(scenario())


@dataclass
class Box(Generic[T]):
    content: T | None = None


def test_a_generic_type_can_be_used():
    async def scenario():
        async with Sessions("memory", state_type=Box[int]) as sessions:
            async with sessions.turn(ID) as session:
                session.state.content = 1
            with pytest.raises(StateError, match=r"\$\.state\.content"):
                async with sessions.turn(ID) as session:
                    session.state.content = "one"

    asyncio.run(scenario())


@pytest.mark.parametrize("state_type", [Account, Frozen])
def test_set_state_leaves_the_other_fields_as_they_are(state_type):
    async def scenario():
        async with Sessions("memory", state_type=state_type) as sessions:
            async with sessions.turn(ID) as session:
                notes = session.state.notes
                session.set_state({"owner": "Ada"})
                notes.append("kept")
            assert (await sessions.read(ID)).state == state_type("Ada", ["kept"])

    asyncio.run(scenario())


def test_another_state_than_one_of_the_type_is_refused():
    async def scenario():
        async with Sessions("memory", state_type=Account) as typed, Sessions("memory") as untyped:
            for sessions, value in ((typed, {"owner": "Ada"}), (untyped, Account()), (untyped, OrderedDict(a=1))):
                with pytest.raises(StateError) as caught:
                    async with sessions.turn(ID) as session:
                        session.state = value
                assert caught.value.path == "$.state"

    asyncio.run(scenario())
