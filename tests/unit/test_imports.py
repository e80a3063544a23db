"""The modules that an import loads, the dependencies of each package, and the absence of import cycles."""

import ast
import graphlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import importlib_metadata
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ["core", *sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/*/pyproject.toml"))]
OFFERED_BY = {"botsession": "botsession-core", "bson": "pymongo"}
"""Distributions whose names differ from their import names."""

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


def imports_of(file):
    """Yield `(module, name)` for every import of a file that is executed at run time, including those in functions."""
    waiting = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def imported_by(folder):
    """Return the packages, other than the standard library, that the code in a folder imports at run time."""
    found = {module.partition(".")[0] for file in folder.rglob("*.py") for module, _ in imports_of(file)}
    return found - set(sys.stdlib_module_names)


def modules_in(source):
    """Return the files of a source folder by module name."""
    files = source.rglob("*.py")
    return {".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported_modules(source):
    """Return, for each module in a source folder, the modules of the same folder that it imports."""
    modules = modules_in(source)
    graph = {}
    for module, file in modules.items():
        candidates = {f"{found}.{name}" if f"{found}.{name}" in modules else found for found, name in imports_of(file)}
        graph[module] = candidates & modules.keys() - {module}
    return graph


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_of_a_package_import_each_other_in_a_circle(package):
    graph = imported_modules(ROOT / package / "src")
    assert graph
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"the imports form a circle: {' <- '.join(error.args[1])}")


def test_a_circle_is_found(tmp_path):
    (tmp_path / "one.py").write_text("def use():\n    import two\n", encoding="utf-8")
    (tmp_path / "two.py").write_text("from one import use\n", encoding="utf-8")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(imported_modules(tmp_path)).prepare()


def test_the_core_imports_no_plugin_and_a_plugin_no_driver():
    drivers = {path.name for path in ROOT.glob("plugins/drivers/*/src/*")}
    plugins = {path.name for path in ROOT.glob("plugins/*/*/src/*")}
    assert {"botsession_redis"} < drivers < plugins
    assert imported_by(ROOT / "core/src") & plugins == set()
    for package in PACKAGES[1:]:
        (source,) = (ROOT / package / "src").iterdir()
        assert imported_by(source) & drivers <= {source.name}


@pytest.mark.parametrize("name", PACKAGES)
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
