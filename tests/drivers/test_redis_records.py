"""The Redis driver with foreign values and leases, and with changes during a turn."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from redis_setups import key_of, opened, put

from botsession import (
    CorruptSessionError,
    Session,
    SessionConflictError,
    Sessions,
)
from botsession.protocol import Claim, Step

ID = "telegram:42"


def test_a_record_that_a_tool_has_reformatted_keeps_working():
    async def main():
        async with opened() as (store, client):
            session = await put(store)
            record = json.loads(await client.get(key_of(store)))
            await client.set(key_of(store), json.dumps(record, indent=2))
            assert await store.touch(ID, store.lifetime.now() + timedelta(minutes=1))
            read = await store.read(ID)
            assert read.state == session.state
            with pytest.raises(SessionConflictError):
                await store.replace(ID, read, expected="0" * 16)
            await store.replace(ID, read, expected=session.version)

    asyncio.run(main())


def test_a_key_of_another_type_is_a_corrupt_session():
    async def main():
        async with opened() as (store, client):
            await client.hset(key_of(store), "field", "value")
            await put(store, "telegram:1")
            for operation in (
                lambda: store.read(ID),
                lambda: store.replace(ID, Session(ID), expected=None),
                lambda: store.replace(ID, Session(ID), expected="0" * 16),
                lambda: store.touch(ID, None),
                lambda: store.write(ID, Session(ID)),
                lambda: store.destroy(ID),
                lambda: Sessions(store).destroy(ID),
            ):
                with pytest.raises(CorruptSessionError) as caught:
                    await operation()
                assert caught.value.session_id == ID
                assert "WRONGTYPE" in str(caught.value.__cause__)
                assert caught.value.raw
            pages = [await store.scan()]
            while pages[-1].next is not None:
                pages.append(await store.scan(after=pages[-1].next))
            assert {info.id for page in pages for info in page.sessions} == {"telegram:1"}
            assert {error.session_id for page in pages for error in page.unreadable} == {ID}
            good, bad, absent = await store.read_many(["telegram:1", ID, "telegram:2"])
            assert good.id == "telegram:1"
            assert isinstance(bad, CorruptSessionError)
            assert absent is None
            stored, refused = await store.commit([Step.replace(good, good.version), Step.replace(Session(ID), None)])
            assert stored is None
            assert isinstance(refused, CorruptSessionError)
            assert await client.hgetall(key_of(store)) == {b"field": b"value"}
            await store.quarantine(ID)
            assert await store.read(ID) is None

    asyncio.run(main())


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"\xff\xfe", b'{"version":"00"}', b'{"state":{}}'])
def test_an_unreadable_value_stays_and_is_told(raw):
    async def main():
        async with opened() as (store, client):
            await client.set(key_of(store), raw)
            for operation in (lambda: store.read(ID), lambda: store.touch(ID, None)):
                with pytest.raises(CorruptSessionError) as caught:
                    await operation()
                assert caught.value.raw == raw
            for expected in (None, "00x", ""):
                with pytest.raises(SessionConflictError):
                    await store.replace(ID, Session(ID), expected=expected)
            assert await client.get(key_of(store)) == raw

    asyncio.run(main())


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda record: json.dumps(record, sort_keys=True),
        lambda record: json.dumps({**record, "expires_at": record["expires_at"].replace("T", " ")}),
        lambda record: json.dumps(
            {**record, "expires_at": record["expires_at"].replace("T", " ")}, separators=(",", ":")
        ),
    ],
    ids=["in another order", "a blank in the deadline", "the same without blanks"],
)
def test_a_value_that_the_scripts_cannot_compare_is_unreadable_and_not_in_conflict_for_ever(spoilt):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store, initial_state={"count": 1})
            await sessions.update(ID, lambda session: session.set_state({"count": 2}))
            record = json.loads(await client.get(key_of(store)))
            laid_out = json.dumps(record).encode()
            disordered = spoilt(record).encode()
            await client.set(key_of(store), laid_out)
            await sessions.update(ID, lambda session: session.set_state({"count": 3}))
            await client.set(key_of(store), disordered)
            for operation in (sessions.read(ID), sessions.update(ID, print), store.touch(ID, None)):
                with pytest.raises(CorruptSessionError, match="does not begin with version") as caught:
                    await operation
                assert caught.value.raw == await client.get(key_of(store)) == disordered
            assert await sessions.recover(ID) is not None
            await sessions.update(ID, lambda session: session.state.setdefault("begun", "anew"))
            assert (await sessions.read(ID)).state == {"count": 1, "begun": "anew"}

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before the turn", "in the turn"])
def test_a_lease_that_is_no_text_is_none_and_concerns_no_other_session(when):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store)
            lease = key_of(store, "x:20") + "\x1f"

            async def spoil():
                await client.delete(lease)
                await client.rpush(lease, "a")

            async def turn(number):
                async with sessions.turn(f"x:{number}") as session:
                    session.state["number"] = number
                    if number == 20 and when == "in the turn":
                        await spoil()
                    await asyncio.sleep(0)

            if when == "before the turn":
                await spoil()
            outcomes = await asyncio.gather(*map(turn, range(40)), return_exceptions=True)
            if when == "in the turn":
                # The turn lost its lease, so another turn might have begun.
                assert isinstance(outcomes.pop(20), SessionConflictError)
                assert await sessions.read("x:20") is None
                async with sessions.turn("x:20") as session:
                    session.state["number"] = 20
            assert set(outcomes) == {None}
            for number in range(40):
                assert (await sessions.read(f"x:{number}")).state == {"number": number}
            assert not await client.exists(lease)

    asyncio.run(main())


async def restored(store, _):
    assert await store.commit([Step.restore(Session(ID, {"restored": True}, version="v1"), None)]) == [None]
    return {"restored": True}


async def destroyed(store, _):
    await store.destroy(ID)


async def removed(store, _):
    assert await store.commit([Step.remove(ID)]) == [None]


async def destroyed_and_begun_again(store, _):
    await store.destroy(ID)
    [found] = await store.lease_many([Claim(ID, "next", ttl=60, again=1)])
    assert found is None


async def quarantined(store, client):
    await client.set(key_of(store), "{")
    assert await store.quarantine(ID)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("happens", [restored, destroyed, removed, destroyed_and_begun_again, quarantined])
def test_what_happens_to_a_session_while_a_turn_holds_its_lease(happens, is_new):
    async def main():
        async with opened() as (store, client):
            sessions = Sessions(store)
            if not is_new:
                await put(store)
            turn = sessions.turn(ID)
            session = await turn.__aenter__()
            session.state["late"] = True
            if happens is restored and not is_new:
                await store.destroy(ID)
            state = await happens(store, client)
            if happens is quarantined and is_new:
                # The session was absent before, so nothing was destroyed and the turn is saved.
                await turn.__aexit__(None, None, None)
                state = {"late": True}
            else:
                with pytest.raises(SessionConflictError):
                    await turn.__aexit__(None, None, None)
            found = await sessions.read(ID)
            assert (None if found is None else found.state) == state
            await sessions.close()

    asyncio.run(main())
