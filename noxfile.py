"""Every task of the project: `nox --list` names them, `nox` runs those that a change must pass."""

from __future__ import annotations

import os
import pathlib
import shutil

import nox

ROOT = pathlib.Path(__file__).parent
PACKAGES = ["core", *sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/pyproject.toml")), "."]
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]

PARALLEL = ("-n", "auto", "--dist", "worksteal")
"""A worker for each core, with servers of its own."""

NO_MUTANTS = "--ignore=tests/conformance/test_mutants.py"
"""The kit is tested once by each Python; where drivers are, its own test may stay away."""

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "tests", "minimums", "faults", "packaging", "docs"]

# Interpreters that pyenv has installed are found without being on the PATH.
for found in sorted(
    pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.1[1-9].*/bin")
):
    os.environ["PATH"] = f"{found}{os.pathsep}{os.environ['PATH']}"


def install_project(session: nox.Session, *groups: str) -> None:
    """Installs every package of the workspace from the checkout, and dependency groups.

    What is never imported is not compiled, which takes half of the time.
    """
    requirements = nox.project.dependency_groups(PYPROJECT, *groups)
    packages = (f"./{package}" if package != "." else "." for package in PACKAGES)
    session.install("--no-compile", *packages, *requirements)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole test suite on real servers, which also writes the matrix of drivers into the documentation.

    A missing interpreter is reported by nox as skipped.
    """
    install_project(session, "test")
    writes_matrix = session.python == PYTHONS[0] and not session.posargs
    matrix = {"BOTSESSION_TEST_MATRIX": "docs/reference/drivers.md"} if writes_matrix else {}
    session.run("pytest", *PARALLEL, *session.posargs, env=matrix)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style and types."""
    install_project(session, "test", "lint")
    session.install("nox")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", *(f"{package}/src" for package in PACKAGES if package != "."), "tests/typing", "noxfile.py")
    session.run("pytest", "tests/console/test_new_driver.py")


@nox.session(python=PYTHONS[0])
def packaging(session: nox.Session) -> None:
    """Builds every distribution, and installs and removes them in clean environments."""
    session.install("build", "pytest>=8.2")
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for package in [*PACKAGES, "docs/examples/botsession-sqlite"]:
        session.run("python", "-m", "build", "--outdir", str(dist), package, silent=True)
    session.run("pytest", "tests/packaging", *session.posargs, env={"BOTSESSION_TEST_DIST": str(dist)})


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """What touches the dependencies, with the lowest versions that the packages allow."""
    install_project(session, "test")
    lowest = {
        requirement.replace(">=", "==")
        for package in PACKAGES
        for requirement in nox.project.load_toml(f"{package}/pyproject.toml")["project"].get("dependencies", [])
        if not requirement.startswith("botsession")
    }
    session.install(*sorted(lowest))
    suites = ("unit", "conformance", "drivers", "console")
    session.run("pytest", *PARALLEL, NO_MUTANTS, *(session.posargs or [f"tests/{suite}" for suite in suites]))


@nox.session(python=PYTHONS[0])
def faults(session: nox.Session) -> None:
    """Kills, pauses, outages and broken networks; `nox -s faults -- --long` goes on for about an hour."""
    install_project(session, "test")
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """Builds the site into `site/`; a warning is an error."""
    install_project(session, "test", "docs")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "-b", "dirhtml", "docs", "site")


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Measures botsession beside bare clients and other libraries; `nox -s bench -- --full` takes its time."""
    install_project(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": str(ROOT / "tests")})
