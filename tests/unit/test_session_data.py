"""A session is plain data during its turn and after it. After its turn it refuses changes."""

import asyncio
import copy
import dataclasses
import pickle

import msgspec
import pytest
from kit.watched import ID, Watched, with_store

from botsession import (
    Session,
    SessionConflictError,
    Sessions,
    TurnEndedError,
)


class Order(msgspec.Struct):
    item: str
    count: int = 1


@dataclasses.dataclass
class Plain:
    count: int = 0


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": dataclasses.replace,
    "pickle": lambda session: pickle.loads(pickle.dumps(session)),
}
CONVERSIONS = {
    "asdict": dataclasses.asdict,
    "astuple": dataclasses.astuple,
    "to_builtins": msgspec.to_builtins,
    "json": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
    "repr": repr,
}
KINDS = {
    "plain": {"initial_state": {"count": 0}},
    "struct": {"state_type": Order, "initial_state": {"item": "tea"}},
    "dataclass": {"state_type": Plain},
}
CHANGES = {"state": {"count": 2}, "user": {"name": "Ada"}, "expires_in": 5, "id": "telegram:1", "version": "x"}


async def in_a_turn(store, kind, look, *, lock="auto"):
    """Call a function with a session during its turn, after its turn, and from a read."""
    sessions = Sessions(store, lock=lock, **KINDS[kind])
    for number in (1, 2):  # a new session, then a stored one
        async with sessions.turn(ID) as session:
            look(session)
            session.state = sessions.initial_state()
            session.user = {"turn": number}
            look(session)
        look(session)
    look(await sessions.read(ID))
    return sessions


@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_equal_and_belongs_to_no_turn(kind, way):
    def look(session):
        copied = way(session)
        assert copied == session
        assert session == copied
        assert type(copied) is Session
        before = repr(session)
        copied.user = {"copy": True}
        copied.state = None
        assert copied != session
        assert repr(session) == before
        assert not copied.lease_lost

    async def scenario(store):
        sessions = await in_a_turn(store, kind, look)
        saved = await sessions.read(ID)
        assert (saved.state, saved.user) == (sessions.initial_state(), {"turn": 2})

    with_store(scenario)


@pytest.mark.parametrize("way", CONVERSIONS.values(), ids=CONVERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_converted_to_its_data_alone(kind, way):
    names = [field.name for field in dataclasses.fields(Session)]

    def look(session):
        plain = Session(*(getattr(session, name) for name in names))
        assert way(session) == way(plain)

    with_store(lambda store: in_a_turn(store, kind, look))
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES)
def test_set_state_of_a_copy_just_changes_it(way):
    def look(session):
        copied = way(session)
        copied.set_state({"count": 9})
        assert copied.state == {"count": 9}
        assert session.state == {"count": 0}

    with_store(lambda store: in_a_turn(store, "plain", look))


@pytest.mark.parametrize("way", [lambda session: session, *(COPIES[name] for name in ("copy", "deepcopy", "pickle"))])
@pytest.mark.parametrize("kind", KINDS)
def test_reset_state_knows_the_initial_state_everywhere(kind, way):
    async def scenario(store):
        sessions = Sessions(store, **KINDS[kind])

        def check(session):
            session = way(session)
            session.set_state({"count": 7})
            session.reset_state()
            assert session.state == sessions.initial_state()
            assert session.state is not sessions.initial_state()

        await sessions.update(ID, lambda session: session.set_state({"count": 5}))
        check(await sessions.read(ID))
        async with sessions.turn(ID) as session:
            check(session)

    with_store(scenario)


def test_reset_state_of_a_session_that_was_made_by_hand_empties_it():
    session = Session(ID, {"count": 1})
    session.reset_state()
    assert session.state == {}


async def change_nothing(session):
    pass


async def change(session):
    session.state["count"] = 1


async def fail(session):
    raise ZeroDivisionError


async def spoil(session):
    session.state["count"] = object()


async def be_cancelled(session):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("handler", [change_nothing, change, fail, spoil, be_cancelled])
@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_assignment_after_the_turn_is_refused_however_it_ended(handler, lock):
    async def scenario(store):
        given = []

        async def turn():
            async with Sessions(store, lock=lock).turn(ID) as session:
                given.append(session)
                await handler(session)

        await asyncio.wait([asyncio.create_task(turn())])
        [session] = given
        before = repr(session)
        for name, value in CHANGES.items():
            with pytest.raises(
                TurnEndedError, match=rf"'{ID}' has ended, and nothing would save the change of its {name}"
            ):
                setattr(session, name, value)
        for change_it in (lambda: session.set_state({"count": 3}), session.reset_state):
            with pytest.raises(TurnEndedError):
                change_it()
        assert repr(session) == before
        assert not session.lease_lost

    with_store(scenario)


def test_assignment_after_a_turn_that_was_overtaken_is_refused():
    async def scenario(store):
        async def turn():
            async with Sessions(store, lock="local").turn(ID) as session:
                await Sessions(store, lock="local").update(ID, lambda other: other.set_state({"count": 1}))
                session.state["count"] = 2
                given.append(session)

        given = []
        with pytest.raises(SessionConflictError):
            await turn()
        with pytest.raises(TurnEndedError):
            given[0].state = {}

    with_store(scenario)


def test_assignment_to_what_update_has_returned_is_refused():
    async def scenario(store):
        saved = await Sessions(store).update(ID, lambda session: session.set_state({"count": 1}))
        with pytest.raises(TurnEndedError):
            saved.state = {"count": 2}
        changed = dataclasses.replace(saved, state={"count": 2})
        assert (saved.state, changed.state) == ({"count": 1}, {"count": 2})

    with_store(scenario)


def test_what_was_read_can_be_changed_and_nothing_saves_it():
    async def scenario(store):
        sessions = Sessions(store)
        await sessions.update(ID, lambda session: session.set_state({"count": 1}))
        read = await sessions.read(ID)
        read.state, read.user = {"count": 2}, {"name": "Ada"}
        assert (await sessions.read(ID)).state == {"count": 1}

    with_store(scenario)


def test_a_copy_of_what_is_being_saved_is_saved_as_it_is_then():
    class Layer(Watched):
        async def commit(self, steps):
            copies = [
                msgspec.structs.replace(each, session=dataclasses.replace(each.session, state={"by": "layer"}))
                for each in steps
            ]
            return await super().commit(copies)

    async def scenario(store):
        sessions = Sessions(store)
        await sessions.update(ID, lambda session: session.set_state({"by": "bot"}))
        assert (await sessions.read(ID)).state == {"by": "layer"}

    with_store(scenario, Layer)


class KeepsWhatItIsGiven:
    """A minimal store, as written for a quick experiment."""

    def __init__(self):
        self.kept = {}

    async def init(self):
        return self

    async def read(self, session_id):
        return self.kept.get(session_id)

    async def write(self, session_id, session):
        self.kept[session_id] = session

    async def destroy(self, session_id):
        self.kept.pop(session_id, None)


class KeepsAndCompares(KeepsWhatItIsGiven):
    async def replace(self, session_id, session, *, expected):
        stored = self.kept.get(session_id)
        if (None if stored is None else stored.version) != expected:
            raise SessionConflictError(session_id)
        self.kept[session_id] = session


@pytest.mark.parametrize("store_type", [KeepsWhatItIsGiven, KeepsAndCompares])
def test_a_store_may_keep_the_very_session_that_it_is_given(store_type):
    async def main():
        async with Sessions(store_type(), initial_state={"count": 0}) as sessions:
            for _ in range(3):
                async with sessions.turn(ID) as session:
                    session.state["count"] += 1
            read = await sessions.read(ID)
            read.set_state({"count": 0})
            assert (await sessions.read(ID)).state == {"count": 3}

    asyncio.run(main())
