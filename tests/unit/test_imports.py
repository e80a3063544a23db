"""Hygiene: what an import loads, and on what the core depends."""

import json
import re
import subprocess
import sys

import importlib_metadata
import pytest

CLIENTS = {"redis", "pymongo", "motor", "aiofiles", "cachetools", "bson", "hiredis"}


def loaded_by(code):
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    output = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(output.stdout.splitlines()[-1]))


def drivers_in(modules):
    return {name for name in modules if name.startswith("botsession_")}


def test_importing_botsession_loads_no_driver_no_client_and_no_test_tool():
    modules = loaded_by("import botsession")
    assert not modules & CLIENTS
    assert not drivers_in(modules)
    assert not modules & {"pytest", "hypothesis"}


@pytest.mark.parametrize(
    ("name", "clients"),
    [("memory", {"cachetools"}), ("file", {"aiofiles"}), ("redis", {"redis", "hiredis"})],
)
def test_opening_a_driver_loads_only_that_one(name, clients):
    modules = loaded_by(f"import botsession; botsession.open_store({name!r})")
    assert drivers_in(modules) == {f"botsession_{name}"}
    assert modules & CLIENTS == clients


@pytest.mark.parametrize("api", ["motor", "pymongo"])
def test_opening_mongo_loads_only_the_client_it_needs(api):
    modules = loaded_by(f"import botsession; botsession.open_store('mongo', api={api!r})")
    assert drivers_in(modules) == {"botsession_mongo"}
    assert modules & CLIENTS <= {"pymongo", "bson"} | ({"motor"} if api == "motor" else set())


def test_the_core_depends_on_three_packages():
    requirements = importlib_metadata.requires("botsession-core") or []
    runtime = {re.match(r"[\w-]+", text)[0] for text in requirements if "extra ==" not in text}
    assert runtime == {"pluggy", "importlib-metadata", "msgspec"}


def test_every_export_exists_and_is_listed():
    import botsession

    public = {name for name in vars(botsession) if not name.startswith("_")}
    modules = {name for name in public if f"botsession.{name}" in sys.modules and name != "drivers"}
    assert set(botsession.__all__) == public - modules
    assert botsession.__all__ == sorted(
        botsession.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
