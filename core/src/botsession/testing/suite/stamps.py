"""Every write sets a new version and its moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from botsession.protocol import (
    StoredSession,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session, SessionInfo
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
from botsession.testing.hooks import Hooks


class Stamps(Hooks):
    """The version and the moments of a session."""

    @scenario(SupportsExpiry)
    async def test_every_write_gives_a_new_version(self, bench: Bench) -> None:
        session = await bench.write(state={"same": True})
        versions = [session.version]
        for _ in range(5):
            await bench.store.write(ID, session)
            assert (await bench.stored()).version == session.version
            versions.append(session.version)
        assert all(type(version) is str and version for version in versions)
        assert len(set(versions)) == 6, f"a version was used twice: {versions}"

    @scenario(SupportsExpiry, SupportsReplace)
    async def test_every_replace_gives_a_new_version(self, bench: Bench) -> None:
        session = bench.session()
        await bench.store.replace(ID, session, expected=None)
        versions = [session.version]
        for _ in range(5):
            await bench.store.replace(ID, session, expected=versions[-1])
            assert (await bench.stored()).version == session.version
            versions.append(session.version)
        assert all(type(version) is str and version for version in versions)
        assert len(set(versions)) == 6, f"a version was used twice: {versions}"

    @scenario()
    async def test_a_read_changes_no_version(self, bench: Bench) -> None:
        await bench.write()
        assert await bench.stored() == await bench.stored()

    @scenario(SupportsExpiry, expires_in=10)
    async def test_a_write_stamps_the_session_in_place(self, bench: Bench) -> None:
        bench.clock.advance(milliseconds=0.789)
        session = await bench.write()
        now = later(bench, 0)
        assert (session.last_activity, session.expires_at) == (now, later(bench, 10))
        assert await bench.stored() == session
        bench.clock.advance(minutes=3)
        await bench.store.write(ID, session)
        now = later(bench, 0)
        assert (session.last_activity, session.expires_at) == (now, later(bench, 10))
        assert await bench.stored() == session

    @scenario(SupportsExpiry, SupportsReplace, expires_in=10)
    async def test_a_replace_stamps_the_session_in_place(self, bench: Bench) -> None:
        session = bench.session()
        await bench.store.replace(ID, session, expected=None)
        now = later(bench, 0)
        assert (session.created_at, session.last_activity) == (now, now)
        assert session.expires_at == later(bench, 10)
        assert await bench.stored() == session
        bench.clock.advance(minutes=3)
        await bench.store.replace(ID, session, expected=session.version)
        assert (session.created_at, session.last_activity) == (now, later(bench, 0))
        assert await bench.stored() == session

    @scenario(SupportsExpiry)
    async def test_a_session_is_created_once(self, bench: Bench) -> None:
        session = await bench.write()
        created = later(bench, 0)
        assert session.created_at == created
        for _ in range(3):
            bench.clock.advance(minutes=1)
            read = await bench.stored()
            assert read.created_at == created
            await bench.store.write(ID, read)
        assert (await bench.stored()).created_at == created

    @scenario()
    async def test_moments_are_in_utc_and_whole_milliseconds(self, bench: Bench) -> None:
        bench.clock.advance(milliseconds=0.789)
        await bench.write()
        told: list[StoredSession | SessionInfo] = [await bench.stored()]
        if isinstance(bench.store, SupportsTouch):
            await bench.store.touch(ID, later(bench, 10))
            told.append(await bench.stored())
        if isinstance(bench.store, SupportsCommit):
            told += [found for found in await bench.store.read_many([ID]) if isinstance(found, Session)]
        if isinstance(bench.store, SupportsScan):
            told += (await bench.scan()).values()
        for each in told:
            for moment in (each.created_at, each.last_activity, each.expires_at):
                assert moment is not None
                assert moment.utcoffset() == timedelta(0), f"{moment!r} is not in UTC"
                assert moment.microsecond % 1000 == 0, f"{moment!r} is not in whole milliseconds"

    @scenario()
    async def test_a_store_without_lifetime_keeps_the_stamps_it_is_given(self, bench: Bench) -> None:
        if isinstance(bench.store, SupportsExpiry):
            pytest.skip("the store has a lifetime and stamps sessions itself")
        session = bench.session()
        stamped = (session.version, session.created_at, session.last_activity, session.expires_at)
        await bench.store.write(ID, session)
        read = await bench.stored()
        assert (read.version, read.created_at, read.last_activity, read.expires_at) == stamped
