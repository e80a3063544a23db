"""Hygiene: what an import loads, and on what the core depends."""

import ast
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import importlib_metadata
import pytest

ROOT = pathlib.Path(__file__).parents[2]
OFFERED_BY = {"botsession": "botsession-core", "bson": "pymongo"}
"""The distributions that have another name than their package."""

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


def imported_by(folder):
    """Returns the packages that the code in a folder imports when it runs, but for Python's own."""
    found = set()
    for file in folder.rglob("*.py"):
        waiting = [ast.parse(file.read_text(encoding="utf-8"))]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                waiting += node.orelse
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.partition(".")[0])
            waiting += ast.iter_child_nodes(node)
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "name", ["core", *(f"plugins/{name}" for name in ("console", "file", "memory", "mongo", "redis"))]
)
def test_a_package_declares_what_it_imports_with_a_range(name):
    folder = ROOT / name
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for texts in project.get("optional-dependencies", {}).values() for text in texts]
    declared = {re.match(r"[\w-]+", text)[0]: text for text in [*project["dependencies"], *extras]}
    assert [text for text in declared.values() if not re.search(r">=[\d.]+,<\d+$", text)] == []
    needed = {OFFERED_BY.get(module, module.replace("_", "-")) for module in imported_by(folder / "src")}
    assert needed - {project["name"]} == declared.keys()


def test_every_export_exists_and_is_listed():
    import botsession

    public = {name for name in vars(botsession) if not name.startswith("_")}
    modules = {name for name in public if f"botsession.{name}" in sys.modules and name != "drivers"}
    assert set(botsession.__all__) == public - modules
    assert botsession.__all__ == sorted(
        botsession.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
