"""The cost of a turn and of a start, in counts that do not depend on load: function calls, memory, modules, scans."""

import asyncio
import gc
import json
import subprocess
import sys

import pytest

from botsession import Sessions


async def run_turns(sessions, number):
    for _ in range(number):
        async with sessions.turn("telegram:42") as session:
            session.state["count"] = session.state.get("count", 0) + 1


@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_function_calls_of_a_turn(lock):
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    async def scenario():
        async with Sessions("memory", lock=lock) as sessions:
            await run_turns(sessions, 10)
            sys.setprofile(count)
            try:
                await run_turns(sessions, 10)
            finally:
                sys.setprofile(None)

    asyncio.run(scenario())
    assert calls / 10 <= 67  # 58 with Python 3.11, and 65 with the oldest supported cachetools


@pytest.mark.parametrize("lock", ["auto", "local", "none"])
def test_turns_leave_nothing_behind(lock):
    async def scenario():
        async with Sessions("memory", lock=lock) as sessions:
            gc.disable()
            try:
                for _ in range(40):  # caches fill up first
                    before = sys.getallocatedblocks()
                    await run_turns(sessions, 500)
                    if sys.getallocatedblocks() - before < 50:
                        return True
            finally:
                gc.enable()
            return False

    assert asyncio.run(scenario())


def modules_after(code):
    report = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(output.stdout.splitlines()[-1]))


def test_modules_that_a_start_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = modules_after("import asyncio, msgspec, inspect, importlib.resources, dataclasses, pathlib, cachetools")
    after = modules_after("import botsession; botsession.open_store('memory')") - before
    ours = {name for name in after if name.partition(".")[0] in {"botsession", "botsession_memory"}}
    assert len(ours) <= 35  # including the six packages themselves
    assert len(after - ours) <= 50
    needless = {
        "email.parser",
        "tomllib",
        "difflib",
        "botsession.testing",
        "botsession_operations",
        "botsession_operations.mirror",
    }
    assert not after & needless


def test_modules_that_a_process_of_the_kit_loads():
    after = modules_after("import botsession.testing.clock, botsession.testing.processes")
    assert not after & {"pytest", "_pytest", "hypothesis"}
    assert "hypothesis" in modules_after("from botsession.testing import StoreContract")
