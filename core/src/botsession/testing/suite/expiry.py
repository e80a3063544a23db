"""Sessions end on time, and an expired session is absent for every method."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from datetime import timedelta

import pytest

from botsession.errors import ConfigError
from botsession.lifetime import utc_now
from botsession.protocol import (
    Step,
    SupportsCommit,
    SupportsExpiry,
    SupportsPurge,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
from botsession.testing.hooks import Hooks


class Expiry(Hooks):
    """The capability `expiry`: deadlines in every method."""

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_session_ends_after_so_many_minutes(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(9.99)
        assert await bench.store.read(ID) is not None
        await bench.age(0.01)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_deadline_is_kept_to_the_millisecond(self, bench: Bench) -> None:
        # Neither end of a second is near, so that rounding shows, up or down.
        bench.clock.moment = bench.clock().replace(microsecond=567_000)
        session = await bench.write("kit:write")
        ids = [session.id]
        if isinstance(bench.store, SupportsReplace):
            await bench.store.replace("kit:replace", bench.session("kit:replace"), expected=None)
            ids.append("kit:replace")
        if isinstance(bench.store, SupportsTouch):
            await bench.write("kit:touch", expires_in=1)
            await bench.store.touch("kit:touch", later(bench, 10))
            ids.append("kit:touch")
        if isinstance(bench.store, SupportsCommit):
            restored = dataclasses.replace(session, id="kit:restore")
            assert await bench.store.commit([Step.restore(restored, None)]) == [None]
            ids.append("kit:restore")
        await bench.age(10 - 1 / 60_000)
        assert await self._present(bench, ids) == ids
        await bench.age(1 / 60_000)
        assert await self._present(bench, ids) == []

    async def _present(self, bench: Bench, ids: list[str]) -> list[str]:
        """Return which of these sessions each method finds."""
        read = [session_id for session_id in ids if await bench.store.read(session_id) is not None]
        if isinstance(bench.store, SupportsCommit):
            assert [found.id for found in await bench.store.read_many(ids) if isinstance(found, Session)] == read
        if isinstance(bench.store, SupportsScan):
            assert sorted(await bench.scan()) == sorted(read)
        return read

    @scenario(SupportsExpiry)
    async def test_fractions_of_a_minute_count(self, bench: Bench) -> None:
        for minutes in (0.5, 1.5, timedelta(seconds=90), 2.25):
            length = minutes if isinstance(minutes, timedelta) else timedelta(minutes=minutes)
            bench.store = await bench.open(expires_in=minutes)
            await bench.write()
            await bench.age((length - timedelta(seconds=1)) / timedelta(minutes=1))
            assert await bench.store.read(ID) is not None, f"expires_in={minutes!r} ended too early"
            await bench.age(1 / 60)
            assert await bench.store.read(ID) is None, f"expires_in={minutes!r} did not end in time"

    @scenario(SupportsExpiry, expires_in=None)
    async def test_without_a_lifetime_a_session_never_ends(self, bench: Bench) -> None:
        session = await bench.write()
        assert session.expires_at is None
        await bench.age(50 * 525_600)
        assert (await bench.stored()).expires_at is None

    @scenario(SupportsExpiry)
    async def test_a_session_lives_for_a_year_by_default(self, bench: Bench) -> None:
        session = await bench.write()
        assert session.expires_at == later(bench, 0) + timedelta(days=365)

    @scenario(SupportsExpiry)
    async def test_an_invalid_lifetime_is_refused(self, bench: Bench) -> None:
        for wrong in (0, -1, 0.0, math.nan, math.inf, timedelta(0), "10"):
            with pytest.raises(ConfigError, match="expires_in"):
                bench.make(expires_in=wrong)

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_sessions_own_lifetime_takes_precedence(self, bench: Bench) -> None:
        await bench.write("kit:short", expires_in=0.5)
        await bench.write("kit:usual")
        await bench.write("kit:long", expires_in=20)
        await bench.write("kit:never", expires_in=None)
        left = []
        for minutes in (0.4, 0.1, 9.5, 10, 1_000_000):
            await bench.age(minutes)
            ids = ("kit:short", "kit:usual", "kit:long", "kit:never")
            left.append([session_id[4:] for session_id in ids if await bench.store.read(session_id) is not None])
        assert left == [
            ["short", "usual", "long", "never"],
            ["usual", "long", "never"],
            ["long", "never"],
            ["never"],
            ["never"],
        ]

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_write_restarts_the_countdown(self, bench: Bench) -> None:
        session = await bench.write()
        for _ in range(3):
            await bench.age(9)
            await bench.store.write(ID, session)
        await bench.age(9)
        assert await bench.store.read(ID) is not None
        await bench.age(1)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_read_does_not_renew(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(6)
        await bench.stored()
        await bench.age(4)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_write_may_bring_the_end_nearer(self, bench: Bench) -> None:
        session = await bench.write(expires_in=None)
        session.expires_in = 5
        await bench.store.write(ID, session)
        await bench.age(5)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_write_may_take_the_end_away(self, bench: Bench) -> None:
        session = await bench.write()
        session.expires_in = None
        await bench.store.write(ID, session)
        assert (await bench.stored()).expires_at is None
        await bench.age(11)
        assert await bench.store.read(ID) is not None

    @scenario(SupportsExpiry, expires_in=10, max_lifetime=25)
    async def test_no_activity_outlives_the_longest_lifetime(self, bench: Bench) -> None:
        created = later(bench, 0)
        await bench.write()
        for _ in range(3):
            await bench.age(8)
            await bench.store.write(ID, await bench.stored())
        assert (await bench.stored()).expires_at == created + timedelta(minutes=25)
        await bench.age(1)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, SupportsReplace, expires_in=10, max_lifetime=25)
    async def test_a_replace_uses_the_lifetimes_of_session_and_store(self, bench: Bench) -> None:
        created = later(bench, 0)
        usual, own = bench.session("kit:usual"), bench.session("kit:own", expires_in=7)
        for minutes in (0, 6, 6):
            await bench.age(minutes)
            for session in (usual, own):
                await bench.store.replace(session.id, session, expected=session.version or None)
            assert [session.expires_at for session in (usual, own)] == [later(bench, 10), later(bench, 7)]
        await bench.age(6)
        for session in (usual, own):
            await bench.store.replace(session.id, session, expected=session.version)
            assert await bench.stored(session.id) == session
            assert session.created_at == created
        assert [session.expires_at for session in (usual, own)] == [later(bench, 7), later(bench, 7)]

    @scenario(SupportsExpiry, expires_in=None, max_lifetime=25)
    async def test_the_longest_lifetime_holds_alone(self, bench: Bench) -> None:
        session = await bench.write(expires_in=None)
        assert session.expires_at == later(bench, 25)
        await bench.age(25)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_an_expired_session_can_be_destroyed(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(10)
        await bench.store.destroy(ID)
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, expires_in=10)
    async def test_an_expired_session_can_be_written_again(self, bench: Bench) -> None:
        await bench.write(state={"old": 1})
        await bench.age(10)
        await bench.write(state={"new": 2})
        read = await bench.stored()
        assert (read.state, read.created_at) == ({"new": 2}, later(bench, 0))
        await bench.age(9)
        assert await bench.store.read(ID) is not None

    @scenario(SupportsExpiry, SupportsTouch, expires_in=10)
    async def test_an_expired_session_is_absent_for_touch(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(10)
        assert await bench.store.touch(ID, later(bench, 10)) is False
        assert await bench.store.read(ID) is None

    @scenario(SupportsExpiry, SupportsScan, expires_in=10)
    async def test_an_expired_session_is_absent_for_scan(self, bench: Bench) -> None:
        await bench.write("kit:old")
        await bench.age(5)
        await bench.write("kit:new")
        assert sorted(await bench.scan()) == ["kit:new", "kit:old"]
        await bench.age(5)
        assert sorted(await bench.scan()) == ["kit:new"]

    @scenario(SupportsExpiry, SupportsScan, expires_in=5)
    async def test_a_scan_continues_past_expired_sessions(self, bench: Bench) -> None:
        for number in range(12):
            await bench.write(f"kit:{number:02}", expires_in=None if number in (5, 11) else 5)
        await bench.age(5)
        for limit in (1, 2, 4, None):
            assert sorted(await bench.scan(limit=limit)) == ["kit:05", "kit:11"], f"with limit={limit}"

    @scenario(SupportsExpiry, SupportsCommit, expires_in=10)
    async def test_an_expired_session_is_absent_for_read_many(self, bench: Bench) -> None:
        await bench.write("kit:old")
        await bench.age(5)
        await bench.write("kit:new")
        await bench.age(5)
        old, new = await bench.store.read_many(["kit:old", "kit:new"])
        assert old is None
        assert new == await bench.stored("kit:new")

    @scenario(SupportsExpiry, SupportsPurge, expires_in=10)
    async def test_purge_removes_what_has_expired_and_nothing_else(self, bench: Bench) -> None:
        await bench.write("kit:never", expires_in=None)
        await bench.write("kit:long", expires_in=20)
        for number in range(3):
            await bench.write(f"kit:{number}")
        assert await bench.store.purge() == 0
        await bench.age(10)
        assert await bench.store.purge() == 3
        assert await bench.store.purge() == 0
        assert await bench.store.read("kit:0") is None
        assert await bench.store.read("kit:never") is not None
        assert await bench.store.read("kit:long") is not None

    @scenario(SupportsExpiry, SupportsPurge, expires_in=10)
    async def test_purge_stays_in_its_namespace(self, bench: Bench) -> None:
        other = await bench.open("x", expires_in=10)
        await bench.write()
        await other.write(ID, bench.session())
        await bench.age(10)
        assert [await bench.store.purge(), await other.purge()] == [1, 1]

    @scenario(SupportsExpiry)
    async def test_wall_clock(self, bench: Bench) -> None:
        bench.store = await bench.open(expires_in=timedelta(seconds=0.6), clock=utc_now)
        await bench.write()
        assert await bench.store.read(ID) is not None
        await asyncio.sleep(0.6 + self.granularity)
        assert await bench.store.read(ID) is None
