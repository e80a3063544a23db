"""Stores that list sessions or read many of them incorrectly."""

from __future__ import annotations

import dataclasses
import fnmatch
import re

from kit.reference import Reference
from kit.suites import caught_by

from botsession import ScanPage
from botsession.storage import records


class Listing(Reference):
    """Changes the pages of a scan."""

    async def scan(self, prefix="", *, after=None, limit=None):
        return self.change(await super().scan(prefix, after=after, limit=limit), limit)


@caught_by("test_a_scan_of_an_empty_store_finds_nothing", "test_an_empty_batch_does_nothing")
class NeverEnds(Listing):
    def change(self, page, limit):
        return ScanPage(page.sessions, page.next or "")

    async def read_many(self, session_ids):
        return await super().read_many(session_ids) or None


@caught_by("test_pages_of_any_size_hold_everything")
class DropsTheLastPage(Listing):
    def change(self, page, limit):
        return ScanPage([], None) if limit and page.next is None else page


@caught_by("test_pages_of_any_size_hold_everything", "test_a_scan_finds_what_stays_while_others_come_and_go")
class SkipsOneBetweenPages(Listing):
    def change(self, page, limit):
        return ScanPage(page.sessions[:-1] if page.next and len(page.sessions) > 1 else page.sessions, page.next)


@caught_by("test_pages_of_any_size_hold_everything")
class EndsAtTheLimit(Listing):
    def change(self, page, limit):
        return ScanPage(page.sessions, None)


@caught_by("test_a_scan_finds_what_stays_while_others_come_and_go")
class CountsPositions(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        whole = await super().scan(prefix)
        start = int(after or 0)
        end = start + (limit or len(whole.sessions))
        return ScanPage(whole.sessions[start:end], str(end) if end < len(whole.sessions) else None)


@caught_by("test_an_invalid_cursor_is_refused_or_ends_the_scan")
class StumblesOverACursor(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        if after is not None and not after.startswith("kit"):
            raise ValueError(after)
        return await super().scan(prefix, after=after, limit=limit)


@caught_by("test_a_scan_agrees_with_a_read")
class TellsNoDeadline(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, expires_at=None) for info in page.sessions], page.next)


@caught_by("test_a_scan_agrees_with_a_read")
class TellsAnotherVersion(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, version="1") for info in page.sessions], page.next)


@caught_by("test_sizes_in_a_scan_grow_with_the_sessions")
class TellsTheSizeOfTheBeginning(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, size=min(info.size, 1000)) for info in page.sessions], page.next)


@caught_by("test_sizes_in_a_scan_are_bytes")
class TellsTheNumberOfFields(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, size=info.size // 1024 + 8) for info in page.sessions], page.next)


@caught_by("test_sizes_in_a_scan_are_bytes")
class TellsBits(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, size=info.size * 100) for info in page.sessions], page.next)


@caught_by("test_sizes_in_a_scan_are_bytes")
class TellsTheLargestSizeEver(Listing):
    def change(self, page, limit):
        return ScanPage([dataclasses.replace(info, size=self.largest[info.id]) for info in page.sessions], page.next)

    def put(self, session):
        super().put(session)
        self.largest = getattr(self, "largest", {})
        size = len(self.entries[session.id])
        self.largest[session.id] = max(self.largest.get(session.id, 0), size)


@caught_by("test_a_scan_finds_sessions_that_are_used_during_it")
class ListsTheLatestFirst(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        whole = await super().scan(prefix)
        latest = {records.moment(info.last_activity): info for info in whole.sessions}
        rest = [moment for moment in sorted(latest, reverse=True) if after is None or moment < after]
        page = rest[:limit]
        return ScanPage([latest[moment] for moment in page], page[-1] if len(page) < len(rest) else None)


@caught_by("test_a_scan_finds_sessions_that_are_used_during_it")
class CountsPositionsByActivity(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        whole = await super().scan(prefix)
        infos = sorted(whole.sessions, key=lambda info: info.last_activity)
        start = int(after or 0)
        end = start + (limit or len(infos))
        return ScanPage(infos[start:end], str(end) if end < len(infos) else None)


@caught_by("test_a_prefix_is_not_a_pattern")
class TakesAPrefixForAGlob(Reference):
    def has_prefix(self, key, prefix):
        return fnmatch.fnmatchcase(key, prefix + "*")


@caught_by("test_a_prefix_is_not_a_pattern")
class TakesAPrefixForARegularExpression(Reference):
    def has_prefix(self, key, prefix):
        try:
            return re.match(prefix, key) is not None
        except re.error:
            return key.startswith(prefix)


@caught_by("test_a_prefix_is_not_a_pattern")
class TakesAPrefixForARange(Reference):
    def has_prefix(self, key, prefix):
        return not prefix or prefix <= key < prefix + "\uffff"


@caught_by("test_a_prefix_is_not_a_pattern")
class IgnoresCaseInAPrefix(Reference):
    def has_prefix(self, key, prefix):
        return key.lower().startswith(prefix.lower())


@caught_by("test_a_scan_does_not_find_what_was_destroyed")
class ListsTheDestroyed(Reference):
    async def destroy(self, session_id):
        self.ghost = self.entries.get(session_id)
        await super().destroy(session_id)

    async def scan(self, prefix="", *, after=None, limit=None):
        if getattr(self, "ghost", None):
            self.entries["kit:4"] = self.ghost.replace(b'"kit:0"', b'"kit:4"')
        return await super().scan(prefix, after=after, limit=limit)


@caught_by("test_a_scan_finds_ids_that_look_dangerous")
class HidesDotFiles(Reference):
    def has_prefix(self, key, prefix):
        return key.startswith(prefix) and not key.startswith(".")


@caught_by("test_read_many_answers_in_the_order_asked")
class AnswersInItsOwnOrder(Reference):
    async def read_many(self, session_ids):
        return await super().read_many(sorted(session_ids))


@caught_by("test_read_many_answers_in_the_order_asked")
class LeavesOutWhatIsAbsent(Reference):
    async def read_many(self, session_ids):
        return [session for session in await super().read_many(session_ids) if session]


@caught_by("test_read_many_gives_private_copies", "test_read_many_answers_in_the_order_asked")
class ReadsEachIdOnce(Reference):
    async def read_many(self, session_ids):
        distinct = list(dict.fromkeys(session_ids))
        found = dict(zip(distinct, await super().read_many(distinct), strict=True))
        return list(found.values()) if len(found) > 1 else [found[session_id] for session_id in session_ids]


@caught_by("test_a_page_holds_about_as_many_as_asked")
class ListsAllAtOnce(Reference):
    async def scan(self, prefix="", *, after=None, limit=None):
        return await super().scan(prefix, after=after)
