"""Stores that cannot be opened concurrently, reopened, or created before the event loop."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from kit.reference import Reference
from kit.suites import caught_by

from botsession import StoreUnavailableError


@caught_by("test_several_stores_may_be_opened_concurrently")
class StumblesOverAnothersInit(Reference):
    opening: ClassVar[set[int]] = set()

    async def init(self):
        if id(self.entries) in self.opening:
            raise StoreUnavailableError("the table is being created")
        self.opening.add(id(self.entries))
        await self.pause()
        self.opening.discard(id(self.entries))
        return await super().init()


@caught_by("test_several_stores_may_be_opened_concurrently")
class EmptiesWhatOthersHave(Reference):
    async def write(self, session_id, session):
        if not getattr(self, "written", False):
            self.entries.clear()
        self.written = True
        await super().write(session_id, session)


@caught_by("test_a_cancelled_init_may_be_called_again")
class StaysHalfOpen(Reference):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.opening = asyncio.Lock()

    async def init(self):
        await self.opening.acquire()
        await super().init()
        self.opening.release()
        return self


@caught_by("test_a_store_can_be_made_before_an_event_loop_runs")
class NeedsAnEventLoopToBeMade(Reference):
    def __init__(self, *arguments, **options):
        self.loop = asyncio.get_running_loop()
        super().__init__(*arguments, **options)


@caught_by("test_close_leaves_a_client_that_was_handed_in_open")
class ClosesWhatItWasGiven(Reference):
    async def close(self):
        await super().close()
        self.client.is_open = False
