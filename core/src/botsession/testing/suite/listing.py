"""A scan finds every session, and nothing else."""

from __future__ import annotations

from botsession.errors import StoreError
from botsession.ids import MAX_BYTES
from botsession.protocol import SupportsScan, SupportsTouch
from botsession.session import SessionInfo
from botsession.testing.bench import Bench, later, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.samples import SAFE_IDS, SCANNED_PREFIXES, random_text


class Listing(Hooks):
    """The capability `scan`."""

    @scenario(SupportsScan)
    async def test_a_scan_of_an_empty_store_finds_nothing(self, bench: Bench) -> None:
        assert await bench.scan() == {}
        assert await bench.scan("kit:", limit=1) == {}

    @scenario(SupportsScan)
    async def test_a_scan_agrees_with_a_read(self, bench: Bench) -> None:
        await bench.write("kit:1", {"large": "x" * 10_000, '","user":': '","user":'})
        bench.clock.advance(minutes=1)
        await bench.write("kit:2", user={"name": "Ann"}, expires_in=None)
        await bench.write("kit:3", expires_in=5)
        found = await bench.scan()
        assert sorted(found) == ["kit:1", "kit:2", "kit:3"]
        for session_id, info in found.items():
            read = await bench.stored(session_id)
            told = SessionInfo(read.id, read.created_at, read.last_activity, read.expires_at, read.version)
            assert info == told

    @scenario(SupportsScan)
    async def test_sizes_in_a_scan_grow_with_the_sessions(self, bench: Bench) -> None:
        lengths = (0, 500, 5_000, 50_000)
        for length in lengths:
            await bench.write(f"kit:{length}", {"text": "x" * length})
        found = await bench.scan()
        sizes = [found[f"kit:{length}"].size for length in lengths]
        if sizes == [None] * len(lengths):
            return
        for length, size, smaller in zip(lengths, sizes, [0, *sizes], strict=False):
            assert type(size) is int, f"{size!r} is not a size"
            assert smaller is not None, "it reports some sizes, but not all"
            assert size > smaller, f"the size went from {smaller} to {size} with {length} more characters"

    @scenario(SupportsScan)
    async def test_sizes_in_a_scan_are_bytes(self, bench: Bench) -> None:
        text = random_text(2_000)
        await bench.write("kit:large", {"text": text})
        await bench.write("kit:small", {"text": ""})
        await bench.write("kit:shrunk", {"text": "x" * 50_000})
        await bench.write("kit:shrunk", {"text": ""})
        found = await bench.scan()
        if found["kit:small"].size is None:
            return
        sizes = {session_id: info.size or 0 for session_id, info in found.items()}
        assert 0 < sizes["kit:small"] < 5_000, f"a nearly empty session has {sizes['kit:small']} bytes"
        assert sizes["kit:shrunk"] < 5_000, f"a session that was overwritten still has {sizes['kit:shrunk']} bytes"
        kept = len(text.encode())
        assert len(text) < sizes["kit:large"] < 6 * kept + 5_000, f"{kept} bytes are reported as {sizes['kit:large']}"

    @scenario(SupportsScan)
    async def test_pages_of_any_size_hold_everything(self, bench: Bench) -> None:
        ids = {f"kit:{number}" for number in range(23)}
        for session_id in ids:
            await bench.write(session_id)
        for limit in (1, 2, 5, 22, 23, 24, 1000, None):
            assert set(await bench.scan(limit=limit)) == ids, f"with limit={limit}"
            assert set(await bench.scan("kit:", limit=limit)) == ids, f"with limit={limit}"

    @scenario(SupportsScan)
    async def test_a_page_holds_about_as_many_as_asked(self, bench: Bench) -> None:
        for number in range(100):
            await bench.write(f"kit:{number}")
        page = await bench.store.scan(limit=5)
        assert len(page.sessions) <= 50, f"a page of about 5 holds {len(page.sessions)}"
        assert page.next is not None

    @scenario(SupportsScan)
    async def test_a_prefix_is_not_a_pattern(self, bench: Bench) -> None:
        ids = {f"{prefix}tail" for prefix in SCANNED_PREFIXES if len(prefix) < MAX_BYTES} | set(SCANNED_PREFIXES)
        for session_id in ids:
            await bench.write(session_id)
        for prefix in ["", *SCANNED_PREFIXES, "absent", "a:bt", "x"]:
            wanted = {session_id for session_id in ids if session_id.startswith(prefix)}
            assert set(await bench.scan(prefix)) == wanted, f"with prefix={prefix!r}"
            assert set(await bench.scan(prefix, limit=3)) == wanted, f"with prefix={prefix!r} and limit=3"

    @scenario(SupportsScan)
    async def test_a_scan_finds_ids_that_look_dangerous(self, bench: Bench) -> None:
        for session_id in SAFE_IDS:
            await bench.write(session_id)
        assert sorted(await bench.scan()) == sorted(SAFE_IDS)
        assert sorted(await bench.scan(limit=7)) == sorted(SAFE_IDS)

    @scenario(SupportsScan)
    async def test_a_scan_does_not_find_what_was_destroyed(self, bench: Bench) -> None:
        for number in range(6):
            await bench.write(f"kit:{number}")
        for number in range(0, 6, 2):
            await bench.store.destroy(f"kit:{number}")
        assert sorted(await bench.scan(limit=2)) == ["kit:1", "kit:3", "kit:5"]

    @scenario(SupportsScan)
    async def test_a_scan_finds_what_stays_while_others_come_and_go(self, bench: Bench) -> None:
        staying = {f"kit:{number:03}" for number in range(0, 90, 3)}
        passing = [f"kit:{number:03}" for number in range(90) if number % 3]
        for session_id in [*staying, *passing]:
            await bench.write(session_id)
        found: set[str] = set()
        after: str | None = None
        pages = 0
        while True:
            page = await bench.store.scan("kit:", after=after, limit=4)
            found |= {info.id for info in page.sessions}
            after = page.next
            if after is None:
                break
            pages += 1
            assert pages < 100_000, "the scan does not end"
            for info in page.sessions:
                if info.id not in staying:
                    await bench.store.destroy(info.id)
            if passing:
                await bench.store.destroy(passing.pop())
            if pages < 20:
                await bench.write(f"kit:{37 * pages % 90:03}:new")
        assert staying <= found, f"missed: {sorted(staying - found)}"

    @scenario(SupportsScan)
    async def test_a_scan_finds_sessions_that_are_used_during_it(self, bench: Bench) -> None:
        ids = [f"kit:{number:02}" for number in range(24)]
        for session_id in ids:
            await bench.write(session_id)
            bench.clock.advance(milliseconds=10)
        for touching in (isinstance(bench.store, SupportsTouch), False):
            found: set[str] = set()
            page = await bench.store.scan("kit:", limit=4)
            pages = 1
            while page.next is not None:
                found |= {info.id for info in page.sessions}
                for session_id in ids[pages % 4 :: 4] if pages < 10 else []:
                    bench.clock.advance(milliseconds=10)
                    if touching:
                        await bench.store.touch(session_id, later(bench, 60))
                    else:
                        await bench.write(session_id)
                page = await bench.store.scan("kit:", after=page.next, limit=4)
                pages += 1
                assert pages < 100_000, "the scan does not end"
            found |= {info.id for info in page.sessions}
            assert set(ids) <= found, f"missed: {sorted(set(ids) - found)}"

    @scenario(SupportsScan)
    async def test_a_scan_stays_in_its_namespace(self, bench: Bench) -> None:
        other = await bench.open("x")
        await bench.write("kit:mine")
        await other.write("kit:theirs", bench.session("kit:theirs"))
        assert sorted(await bench.scan()) == ["kit:mine"]

    @scenario(SupportsScan)
    async def test_an_invalid_cursor_is_refused_or_ends_the_scan(self, bench: Bench) -> None:
        await bench.write("kit:1")
        for after in ("", "no cursor", "-1", "99999999999999999999", "*", "\x00", "\U0001f600", "../..", '{"$gt":""}'):
            try:
                page = await bench.store.scan(after=after)
            except StoreError:
                continue
            assert {info.id for info in page.sessions} <= {"kit:1"}
