"""The header of a report: the machine and the versions of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import servers

_DISTRIBUTIONS: Final = (
    "botsession-core",
    "msgspec",
    "cachetools",
    "redis",
    "hiredis",
    "pymongo",
    "motor",
    "aiofiles",
    "aiogram",
    "litestar",
    "starsessions",
    "py-key-value-aio",
    "aiocache",
    "cashews",
)


def header(arguments: Sequence[str]) -> dict[str, str]:
    """Return the conditions of a run, by name."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "arguments": " ".join(arguments) or "none (a quick run)",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(filter(None, map(_version, _DISTRIBUTIONS))),
        "servers": f"{_redis()}; {_mongo()}",
    }


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + (" with local changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _redis() -> str:
    if os.environ.get("BOTSESSION_TEST_REDIS_URL"):
        return "a Redis server given by the environment"
    binary = servers.redis_binary()
    output = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    return " ".join(output.split()[:3])


def _mongo() -> str:
    if os.environ.get("BOTSESSION_TEST_MONGO_URL"):
        return "a MongoDB server given by the environment"
    return _version(os.environ.get("BOTSESSION_TEST_MONGO") or next(iter(servers.MONGO)))
