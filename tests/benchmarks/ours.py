"""botsession as a contender, called as a user calls it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.contender import Contender
from benchmarks.place import Place
from benchmarks.workload import EXPIRES_IN, Workload
from botsession import Sessions

MOST: Final = 2_000_000
"""The capacity of the memory driver, in sessions."""

HAS_LOCKS: Final = "lock" in inspect.signature(Sessions.__init__).parameters


class Ours(Contender):
    """`Sessions` with its default settings.

    Args:
        place: Where the sessions are stored.
        workload: The states.
        api: The MongoDB client to use.
        label: A suffix for the name.
        **settings: Settings of `Sessions` that differ from the defaults.
    """

    def __init__(self, place: Place, workload: Workload, api: str = "", label: str = "", **settings: Any) -> None:
        super().__init__(place, workload)
        added = ", ".join(filter(None, (api, label)))
        self.name = f"botsession ({added})" if added else "botsession"
        self.against = f"bare {api}" if api else "bare client"
        self.sessions = Sessions(
            place.backend,
            expires_in=EXPIRES_IN / 60,
            initial_state=workload.initial(),
            **_options(place, api),
            **settings,
        )

    async def open(self) -> None:
        await self.sessions.init()

    async def close(self) -> None:
        await self.sessions.close()

    async def turn(self, session_id: str, *, pause: bool = False) -> None:
        async with self.sessions.turn(session_id) as session:
            if pause:
                await asyncio.sleep(0)
            self.workload.change(session.state)

    async def unchanged_turn(self, session_id: str) -> None:
        """Run a turn that changes nothing."""
        async with self.sessions.turn(session_id):
            pass

    async def read(self, session_id: str) -> dict[str, Any] | None:
        session = await self.sessions.read(session_id)
        return None if session is None else session.state


def ours(place: Place, workload: Workload, **settings: Any) -> Sequence[Ours]:
    """Return botsession on the backend, once for each of its clients."""
    apis = ("motor", "pymongo") if place.backend == "mongo" else ("",)
    return [Ours(place, workload, api, **settings) for api in apis]


def _options(place: Place, api: str) -> dict[str, Any]:
    match place.backend:
        case "memory":
            return {"max_size": MOST}
        case "redis":
            return {"url": place.url, "key_prefix": f"{place.fresh('ours')}:"}
        case "mongo":
            return {"url": f"{place.url}/bench", "collection_name": place.fresh("ours"), "api": api}
        case _:
            return {"dirname": place.folder / place.fresh("ours")}
