"""A touch moves the deadline, and nothing but the deadline."""

from __future__ import annotations

from botsession.protocol import SupportsExpiry, SupportsScan, SupportsTouch
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
from botsession.testing.hooks import Hooks
from botsession.testing.samples import AWKWARD_STATES, exact


class Touch(Hooks):
    """The capability `touch`."""

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_moves_the_deadline(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(5)
        deadline = later(bench, 10)
        assert await bench.store.touch(ID, deadline) is True
        assert (await bench.stored()).expires_at == deadline
        await bench.age(9)
        assert await bench.store.read(ID) is not None
        await bench.age(1)
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_renews_the_last_activity(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(5)
        await bench.store.touch(ID, later(bench, 10))
        assert (await bench.stored()).last_activity == later(bench, 0)

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_keeps_version_and_body(self, bench: Bench) -> None:
        for number, state in enumerate(AWKWARD_STATES):
            session = await bench.write(f"kit:{number}", state, user={"name": "Ann"}, expires_in=7, shape=3)
            await bench.age(1)
            await bench.store.touch(session.id, later(bench, 10))
            read = await bench.stored(session.id)
            assert exact([read.state, read.user]) == exact([state, {"name": "Ann"}])
            assert (read.version, read.created_at) == (session.version, session.created_at)
            assert (read.expires_in, read.shape) == (7, 3)

    @scenario(SupportsTouch)
    async def test_a_touch_creates_nothing(self, bench: Bench) -> None:
        assert await bench.store.touch("kit:absent", later(bench, 10)) is False
        assert await bench.store.read("kit:absent") is None
        await bench.write()
        await bench.store.destroy(ID)
        assert await bench.store.touch(ID, None) is False
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_may_take_the_deadline_away(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.store.touch(ID, None) is True
        assert (await bench.stored()).expires_at is None
        await bench.age(11)
        assert await bench.store.read(ID) is not None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=None)
    async def test_a_touch_may_give_a_deadline(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.store.touch(ID, later(bench, 10)) is True
        await bench.age(10)
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_may_bring_the_deadline_nearer(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.store.touch(ID, later(bench, 5)) is True
        await bench.age(5)
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_touch_with_a_deadline_in_the_past_ends_the_session(self, bench: Bench) -> None:
        await bench.write()
        await bench.store.touch(ID, later(bench, -1))
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsExpiry, expires_in=10)
    async def test_a_write_after_a_touch_goes_by_its_own_deadline(self, bench: Bench) -> None:
        session = await bench.write()
        await bench.store.touch(ID, later(bench, 60))
        await bench.store.write(ID, session)
        assert (await bench.stored()).expires_at == later(bench, 10)
        await bench.age(10)
        assert await bench.store.read(ID) is None

    @scenario(SupportsTouch, SupportsScan, SupportsExpiry, expires_in=10)
    async def test_a_scan_sees_what_a_touch_moved(self, bench: Bench) -> None:
        session = await bench.write()
        await bench.age(5)
        deadline = later(bench, 10)
        await bench.store.touch(ID, deadline)
        info = (await bench.scan())[ID]
        assert (info.expires_at, info.last_activity) == (deadline, later(bench, 0))
        assert (info.version, info.created_at) == (session.version, session.created_at)
        await bench.age(9)
        assert ID in await bench.scan()
