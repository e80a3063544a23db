"""Every method refuses invalid session ids, and every valid id is a session of its own."""

from __future__ import annotations

import pytest

from botsession.errors import InvalidSessionIdError
from botsession.protocol import (
    Step,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
)
from botsession.session import Session
from botsession.testing.bench import Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.samples import HOSTILE_IDS, SAFE_IDS


class Identifiers(Hooks):
    """Session ids in every method."""

    @scenario()
    async def test_a_hostile_id_is_refused(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.read(wrong)
            with pytest.raises(InvalidSessionIdError):
                await bench.store.write(wrong, Session(wrong))
            with pytest.raises(InvalidSessionIdError):
                await bench.store.destroy(wrong)

    @scenario(SupportsReplace)
    async def test_a_hostile_id_is_refused_by_replace(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.replace(wrong, Session(wrong), expected=None)
            with pytest.raises(InvalidSessionIdError):
                await bench.store.replace(wrong, Session(wrong), expected="0" * 16)

    @scenario(SupportsTouch)
    async def test_a_hostile_id_is_refused_by_touch(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.touch(wrong, None)

    @scenario(SupportsCommit)
    async def test_a_hostile_id_is_refused_in_a_batch(self, bench: Bench) -> None:
        await bench.write("kit:1")
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.read_many(["kit:1", wrong])
            with pytest.raises(InvalidSessionIdError):
                await bench.store.commit([Step.remove("kit:1"), Step.remove(wrong)])
            entries = [Step.replace(bench.session("kit:new"), None), Step.replace(Session(wrong), None)]
            with pytest.raises(InvalidSessionIdError):
                await bench.store.commit(entries)
        assert await bench.store.read("kit:1") is not None
        assert await bench.store.read("kit:new") is None

    @scenario()
    async def test_ids_that_look_dangerous_or_alike_keep_apart(self, bench: Bench) -> None:
        for number, session_id in enumerate(SAFE_IDS):
            await bench.write(session_id, {"number": number})
        for number, session_id in enumerate(SAFE_IDS):
            read = await bench.stored(session_id)
            assert (read.id, read.state) == (session_id, {"number": number})
        for session_id in SAFE_IDS[::2]:
            await bench.store.destroy(session_id)
        left = [session_id for session_id in SAFE_IDS if await bench.store.read(session_id) is not None]
        assert left == SAFE_IDS[1::2]

    @scenario(SupportsReplace)
    async def test_ids_that_look_alike_keep_apart_for_replace(self, bench: Bench) -> None:
        versions = []
        for session_id in SAFE_IDS:
            session = bench.session(session_id)
            await bench.store.replace(session_id, session, expected=None)
            versions.append((await bench.stored(session_id)).version)
        for session_id, version in zip(SAFE_IDS[::2], versions[::2], strict=True):
            await bench.store.replace(session_id, bench.session(session_id, {"again": session_id}), expected=version)
        states = [(await bench.stored(session_id)).state for session_id in SAFE_IDS]
        assert states[::2] == [{"again": session_id} for session_id in SAFE_IDS[::2]]
        assert states[1::2] == [{}] * len(SAFE_IDS[1::2])

    @scenario(SupportsTouch, SupportsExpiry)
    async def test_ids_that_look_alike_keep_apart_for_touch(self, bench: Bench) -> None:
        for session_id in SAFE_IDS:
            await bench.write(session_id)
        for session_id in SAFE_IDS[::2]:
            assert await bench.store.touch(session_id, None) is True
        ends = [(await bench.stored(session_id)).expires_at for session_id in SAFE_IDS]
        assert [end is None for end in ends] == [True, False] * (len(SAFE_IDS) // 2)

    @scenario(SupportsCommit)
    async def test_ids_that_look_alike_keep_apart_in_a_batch(self, bench: Bench) -> None:
        ids = SAFE_IDS[::2]
        entries = [Step.replace(bench.session(session_id, {"of": session_id}), None) for session_id in ids]
        assert await bench.store.commit(entries) == [None] * len(ids)
        found = await bench.store.read_many(SAFE_IDS)
        assert found[::2] == [entry.session for entry in entries]
        assert found[1::2] == [None] * len(SAFE_IDS[1::2])
        await bench.store.commit([Step.remove(session_id) for session_id in SAFE_IDS[1::2]])
        assert await bench.store.read_many(ids) == [entry.session for entry in entries]
        await bench.store.commit([Step.remove(session_id) for session_id in ids[::2]])
        left = [session_id for session_id in SAFE_IDS if await bench.store.read(session_id) is not None]
        assert left == ids[1::2]

    @scenario()
    async def test_a_session_is_not_written_under_another_id(self, bench: Bench) -> None:
        await bench.write("kit:1", {"number": 1})
        with pytest.raises(InvalidSessionIdError):
            await bench.store.write("kit:1", bench.session("kit:2"))
        assert (await bench.stored("kit:1")).state == {"number": 1}
        assert await bench.store.read("kit:2") is None

    @scenario(SupportsReplace)
    async def test_a_session_does_not_replace_another(self, bench: Bench) -> None:
        await bench.write("kit:1", {"number": 1})
        before = await bench.stored("kit:1")
        with pytest.raises(InvalidSessionIdError):
            await bench.store.replace("kit:1", bench.session("kit:2"), expected=before.version)
        assert await bench.stored("kit:1") == before
        assert await bench.store.read("kit:2") is None
