"""The Redis driver retries a lost command only if that cannot apply it twice or restore a destroyed session."""

from __future__ import annotations

import ast
import asyncio

import pytest
from redis.asyncio import Redis
from redis_proxy import fails, operations, proxied

import servers
from botsession import (
    Session,
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
)
from botsession.protocol import ANYTHING, Claim, Step
from botsession_redis import RedisSessionStore

ID = "telegram:42"


@pytest.mark.parametrize("mode", ["lose", "cut"])
def test_a_lost_connection_neither_loses_nor_doubles_a_replace(mode):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session = Session(ID, {"n": 1})
            await store.replace(ID, session, expected=None)
            before = session.version
            proxy.mode = mode
            await store.replace(ID, session, expected=before)
            assert await store.read(ID) == session
            proxy.mode = mode
            # Both attempts are refused, but after a lost reply the client cannot know that the first one was.
            assert "closed the connection" in await fails(lambda: store.replace(ID, Session(ID), expected=before))
            with pytest.raises(SessionConflictError):
                await store.replace(ID, Session(ID), expected=before)

    asyncio.run(main())


MUST_BE_ABSENT = {3, 8}
"""Operations that create a session without the protection of a lease."""


@pytest.mark.parametrize(
    ("mode", "number"),
    [("lose", number) for number in range(10) if number != 2]
    + [("cut", number) for number in range(10) if number != 2 and number not in MUST_BE_ABSENT],
)
def test_what_may_be_repeated_is(mode, number):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode = mode
            await operations(store)[number]()

    asyncio.run(main())


def destroyed(store):
    """Return a function that destroys the session through another client."""

    async def destroy():
        async with Redis.from_url(servers.redis_url()) as other:
            assert await other.unlink(*store._keys.pair(ID))

    return destroy


CREATING = {
    "replace": lambda store: store.replace(ID, Session(ID), expected=None),
    "restore": lambda store: outcome(store.commit([Step.restore(Session(ID, version="v1"), None)])),
}


async def outcome(call):
    [error] = await call
    if error is not None:
        raise error


@pytest.mark.parametrize("name", CREATING)
def test_a_repetition_never_creates_what_was_destroyed(name):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode, proxy.in_between = "lose", destroyed(store)
            await fails(lambda: CREATING[name](store))
            assert await store.read(ID) is None
            proxy.mode = "cut"
            proxy.in_between = None
            await fails(lambda: CREATING[name](store))
            assert await store.read(ID) is None
            proxy.mode = "lose"
            await CREATING[name](store)
            assert await store.read(ID) is not None

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_the_first_turn_of_a_session_where_the_network_fails(mode, lock):
    async def main(*, destroys):
        async with proxied() as (proxy, store):
            sessions = await Sessions(store, lock=lock).init()
            proxy.in_between = destroyed(store) if destroys else None
            turn = sessions.turn(ID)
            session = await turn.__aenter__()
            session.state["name"] = "Ada"
            proxy.mode = mode
            try:
                await turn.__aexit__(None, None, None)
            except StoreUnavailableError:
                return await store.read(ID), "not known"
            return await store.read(ID), "saved"

    stored, told = asyncio.run(main(destroys=False))
    if lock == "auto" or mode == "lose":
        assert (stored.state, told) == ({"name": "Ada"}, "saved")
    else:
        assert (stored, told) == (None, "not known")
    if mode == "lose":
        assert asyncio.run(main(destroys=True)) == (None, "not known")


@pytest.mark.parametrize(("mode", "error"), [("pass", SessionConflictError), ("cut", StoreUnavailableError)])
def test_a_destruction_in_the_first_turn_is_the_last_word(mode, error):
    async def main():
        async with proxied() as (proxy, store):
            sessions = await Sessions(store).init()
            with pytest.raises(error):
                async with sessions.turn(ID) as session:
                    session.state["name"] = "Ada"
                    other = await RedisSessionStore(servers.redis_url(), key_prefix=store._keys.prefix.decode()).init()
                    await other.destroy(ID)
                    await other.close()
                    proxy.mode = mode
            assert await store.read(ID) is None

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
@pytest.mark.parametrize("holder", ["held", None])
@pytest.mark.parametrize("expected", [True, False])
def test_a_removal_is_carried_out_once(mode, holder, expected):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session = Session(ID)
            await store.write(ID, session)
            if holder:
                await store.lease_many([Claim(ID, holder, ttl=60, again=1)])
            removal = Step.remove(ID, session.version if expected else ANYTHING, holder)
            proxy.mode = mode
            assert await store.commit([removal]) == [None]
            assert await store.read(ID) is None
            assert await store.lease_many([Claim(ID, "next", ttl=60, again=1)]) == [None]

    asyncio.run(main())


def test_a_removal_whose_reply_was_lost_removes_nothing_newer():
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            session, newer = Session(ID), Session(ID, {"newer": True})
            await store.write(ID, session)

            async def write():
                other = await RedisSessionStore(servers.redis_url(), key_prefix=store._keys.prefix.decode()).init()
                await other.write(ID, newer)
                await other.close()

            proxy.mode, proxy.in_between = "lose", write
            await fails(lambda: store.commit([Step.remove(ID, session.version)]))
            assert await store.read(ID) == newer

    asyncio.run(main())


def test_a_quarantine_whose_reply_was_lost_tells_the_place():
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            async with Redis.from_url(servers.redis_url()) as client:
                await client.set(store._keys.session(ID), "unreadable")

                async def lose():
                    proxy.mode = "lose"

                read = store.read
                store.read = lambda session_id: losing(read(session_id), lose)
                place = await store.quarantine(ID)
                assert await client.get(ast.literal_eval(place.removeprefix("the key "))) == b"unreadable"

    async def losing(reading, lose):
        try:
            return await reading
        finally:
            await lose()

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["lose", "cut"])
def test_a_write_is_never_sent_twice(mode):
    async def main():
        async with proxied() as (proxy, store):
            await store.init()
            proxy.mode = mode
            await fails(lambda: store.write(ID, Session(ID)))

    asyncio.run(main())
