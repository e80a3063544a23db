"""What a migration undoes, leaves alone and reports, and the handover at the end of a move."""

from __future__ import annotations

import asyncio

import pytest

from botsession import Session, SessionTooLargeError, UnsupportedError
from botsession_memory import MemorySessionStore
from botsession_operations import MigrationReport, hand_over, migrate
from botsession_operations.mirror import MirrorSessionStore


async def ended(steps):
    async for _ in steps:
        pass


async def filled(count, **options):
    store = await MemorySessionStore(**options).init()
    for number in range(count):
        await store.write(f"t:{number}", Session(f"t:{number}", {"number": number}))
    return store


class Interrupted(MemorySessionStore):
    """A store that awaits a function of the test before it commits the restored sessions."""

    meanwhile = None

    async def commit(self, steps):
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().commit(steps)


def test_what_is_destroyed_while_it_is_copied_does_not_come_back():
    async def scenario():
        source, target = await filled(5), await Interrupted().init()

        async def destroy():
            await source.destroy("t:3")
            await target.destroy("t:3")

        target.meanwhile = destroy
        done = MigrationReport()
        await ended(migrate(source, target, done))
        assert (done.copied, done.gone, done.failed) == (4, 1, [])
        assert await target.read("t:3") is None

    asyncio.run(scenario())


def test_what_somebody_wrote_into_the_target_meanwhile_stays():
    async def scenario():
        source, target = await filled(5), await Interrupted().init()

        async def write():
            await target.write("t:3", Session("t:3", {"by": "the target's bot"}))

        await asyncio.sleep(0.002)
        target.meanwhile = write
        done = MigrationReport()
        await ended(migrate(source, target, done))
        assert (done.copied, done.kept) == (4, 1)
        assert (await target.read("t:3")).state == {"by": "the target's bot"}

    asyncio.run(scenario())


def test_a_target_that_drops_what_it_stores_is_reported():
    async def scenario():
        source, target = await filled(50), await MemorySessionStore(max_size=10).init()
        done = MigrationReport()
        await ended(migrate(source, target, done))
        assert (done.copied, len(done.failed)) == (10, 40)
        assert "is missing when read back" in str(done.failed[0])

    asyncio.run(scenario())


def test_a_session_that_json_cannot_hold_does_not_hinder_the_others():
    class Lenient(MemorySessionStore):
        async def read_many(self, session_ids):
            found = await super().read_many(session_ids)
            for session in found:
                if session is not None and session.id == "t:2":
                    session.state["when"] = object()
            return found

    async def scenario():
        source, target = await Lenient().init(), await MemorySessionStore().init()
        for number in range(5):
            await source.write(f"t:{number}", Session(f"t:{number}"))
        done = MigrationReport()
        await ended(migrate(source, target, done))
        assert (done.copied, [str(error).split(":")[0] for error in done.failed]) == (4, ["$.state.when"])

    asyncio.run(scenario())


def test_the_copies_of_a_mirror_are_no_sessions_to_migrate():
    async def scenario():
        old, new = await filled(3), await MemorySessionStore().init()
        mirror = MirrorSessionStore(old, new, lead="new")
        session = await mirror.read("t:1")
        await mirror.replace("t:1", session, expected=session.version)
        await new.destroy("t:1")
        done = MigrationReport()
        await ended(migrate(old, new, done))
        assert (done.copied, done.kept) == (2, 1)
        assert await new.read("t:1") is None

    asyncio.run(scenario())


def test_every_session_is_handed_over():
    async def scenario():
        old, new = await filled(30), await MemorySessionStore().init()
        mirror = MirrorSessionStore(old, new, lead="old")
        before = {}
        for number in range(10):
            before[number] = await mirror.read(f"t:{number}")
        await old.destroy("t:9")
        turned = MirrorSessionStore(old, new, lead="new")
        await turned.replace("t:0", before[0], expected=before[0].version)
        done = MigrationReport()
        await ended(hand_over(old, new, done))
        assert (done.copied, done.kept, done.failed) == (28, 1, [])
        assert await new.read("t:9") is None
        for number in {*range(30)} - {9}:
            session = await new.read(f"t:{number}")
            assert session == (await turned.read(session.id))
            assert session.state == {"number": number}
            if number in before:
                assert session == before[number]
        done = MigrationReport()
        await ended(hand_over(old, new, done))
        assert (done.copied, done.kept) == (0, 29)

    asyncio.run(scenario())


def test_a_session_that_cannot_be_handed_over_does_not_hinder_the_others():
    class Small(MemorySessionStore):
        async def commit(self, steps):
            for step in steps:
                if step.session_id == "t:2":
                    return [SessionTooLargeError("it is too large")]
            return await super().commit(steps)

    async def scenario():
        old, new = await filled(5), await Small().init()
        done = MigrationReport()
        await ended(hand_over(old, new, done))
        assert (done.copied, [str(error) for error in done.failed]) == (4, ["it is too large"])
        assert (await old.read("t:2")).state == {"number": 2}

    asyncio.run(scenario())


def test_a_target_without_the_power_is_refused():
    class Plain:
        async def init(self): ...
        async def read(self, session_id): ...
        async def write(self, session_id, session): ...
        async def destroy(self, session_id): ...

    async def scenario():
        source = await filled(1)
        for steps in (migrate(source, Plain(), MigrationReport()), hand_over(source, Plain(), MigrationReport())):
            with pytest.raises(UnsupportedError, match="capability"):
                await ended(steps)

    asyncio.run(scenario())
