"""Cold start: from the start of Python to the first read, with botsession and with the bare client."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

from benchmarks.figures import Figure, Figures
from benchmarks.place import Place, prepared
from benchmarks.plan import Plan

CASE = "a fresh process"

_OURS: Final = """
import asyncio
from botsession import Sessions

async def main():
    async with Sessions({arguments}) as sessions:
        assert await sessions.read("bench:1") is None

asyncio.run(main())
"""

_SOURCES: Final = {
    "memory": "'memory'",
    "redis": "'redis', url='{url}'",
    "mongo": "'mongo', url='{url}/bench', api='{api}'",
    "file": "'file', dirname='{folder}'",
}

_BARE: Final = {
    "memory": """
import asyncio, time
import msgspec
from cachetools import TLRUCache

async def main():
    cache = TLRUCache(10_000, ttu=lambda _id, _raw, now: now + 3600)
    assert cache.get("bench:1") is None

asyncio.run(main())
""",
    "redis": """
import asyncio
import msgspec
from redis.asyncio import Redis

async def main():
    async with Redis.from_url("{url}") as client:
        assert await client.get("bench:1") is None

asyncio.run(main())
""",
    "motor": """
import asyncio
from motor.motor_asyncio import AsyncIOMotorClient

async def main():
    client = AsyncIOMotorClient("{url}")
    assert await client.bench.sessions.find_one({{"_id": "bench:1"}}) is None
    client.close()

asyncio.run(main())
""",
    "pymongo": """
import asyncio
from pymongo import AsyncMongoClient

async def main():
    async with AsyncMongoClient("{url}") as client:
        assert await client.bench.sessions.find_one({{"_id": "bench:1"}}) is None

asyncio.run(main())
""",
    "file": """
import asyncio, pathlib
import msgspec
from aiofiles.os import wrap

def read(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None

async def main():
    assert await wrap(read)(pathlib.Path("{folder}", "bench:1")) is None

asyncio.run(main())
""",
}


def measure(plan: Plan, figures: Figures) -> None:
    """Measure the time to the first read."""
    for backend in plan.backends:
        with prepared(backend) as place:
            for api in ("motor", "pymongo") if backend == "mongo" else ("",):
                _measure(plan, figures, place, api)


def _measure(plan: Plan, figures: Figures, place: Place, api: str) -> None:
    values = {"url": place.url, "folder": place.folder, "api": api}
    bare = f"bare {api}" if api else "bare client"
    scripts = {
        f"botsession ({api})" if api else "botsession": _OURS.format(
            arguments=_SOURCES[place.backend].format(**values)
        ),
        bare: _BARE[api or place.backend].format(**values),
    }
    if place.backend == "memory":
        scripts["python itself"] = "pass"
    times: dict[str, list[float]] = {name: [] for name in scripts}
    for number in range((plan.rounds if plan.full else 3) + 1):
        for name, script in scripts.items():
            took = _run(script, place)
            if number:  # the first run may compile bytecode
                times[name].append(took)
    for name, numbers in times.items():
        figures.add(Figure("cold start", place.backend, name, CASE, "ms", numbers, (bare, CASE)))


def _run(script: str, place: Place) -> float:
    """Return the duration of a script in milliseconds."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, cwd=place.folder)
    return (time.perf_counter() - begin) * 1000
