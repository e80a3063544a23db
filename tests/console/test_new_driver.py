"""`botsession new-driver`: the package it writes works unchanged, and nothing is ever overwritten."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from botsession_console.exits import FAILED, MISCONFIGURED
from botsession_console.new_driver.scaffold import core_range

ROOT = pathlib.Path(__file__).parents[2]
TREE = [
    ".gitignore",
    "LICENSE",
    "README.md",
    "noxfile.py",
    "pyproject.toml",
    "src/botsession_some_db/__init__.py",
    "src/botsession_some_db/backend.py",
    "src/botsession_some_db/py.typed",
    "src/botsession_some_db/store.py",
    "tests/test_conformance.py",
]


def call(*command, cwd, **variables):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOTSESSION_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def generate(folder, name):
    return call("-m", "botsession_console", "new-driver", name, cwd=folder, PYTHONWARNINGS="error")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new-driver")
    generate(folder, "some-db")
    return folder / "botsession-some-db"


@pytest.fixture(scope="module")
def site(package, tmp_path_factory):
    """The folder in which the package is installed."""
    target = tmp_path_factory.mktemp("site")
    call("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(package), cwd=package)
    return target


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_written_is_told(run, folder):
    done = run("new-driver", "some_db", "--directory", "my drivers")
    assert done.returncode == 0
    assert done.stderr == ""
    first, *files = done.stdout.splitlines()
    *files, heading, enter, install = files
    assert first == "written to my drivers/botsession-some-db:"
    assert sorted(line.strip() for line in files) == TREE == tree(folder / "my drivers" / "botsession-some-db")
    assert heading == "next:"
    assert enter == "  cd 'my drivers/botsession-some-db'"
    assert install == "  pip install --editable '.[test]' && pytest"


def test_the_metadata(package):
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    major, minor, *_ = importlib.metadata.version("botsession-core").split(".")
    wanted = f">={major}.{minor},<{int(major) + 1}"
    assert project["name"] == "botsession-some-db"
    assert project["dependencies"] == [f"botsession-core{wanted}"]
    assert project["optional-dependencies"] == {"test": [f"botsession-core[testing]{wanted}"]}
    assert project["entry-points"] == {"botsession.drivers": {"some-db": "botsession_some_db"}}
    year = dt.datetime.now(dt.UTC).year
    assert f"(c) {year} the botsession-some-db authors" in (package / "LICENSE").read_text()


@pytest.mark.parametrize(("version", "wanted"), [("0.1.0", ">=0.1,<1"), ("2.13.1", ">=2.13,<3")])
def test_the_range_of_the_core(version, wanted):
    assert core_range(version) == wanted


def test_the_tests_pass_as_written(package, site, tmp_path):
    own = ["-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tmp'}"]
    report = call("-m", "pytest", "-q", "-rs", *own, cwd=package, PYTHONPATH=str(site))
    counted = re.search(r"(\d+) passed, (\d+) skipped", report)
    assert counted is not None, report
    assert int(counted[1]) > 100
    reasons = {line.split(": ", 1)[1] for line in report.splitlines() if line.startswith("SKIPPED")}
    assert not [reason for reason in reasons if "corrupt" in reason or "unreachable" in reason]


def test_the_driver_is_found_by_name_and_by_url(package, site):
    program = "import botsession; print(botsession.open_store({!r}, expires_in=10).lifetime.expires_in)"
    for source in ("some-db", "some-db://localhost"):
        assert call("-c", program.format(source), cwd=package, PYTHONPATH=str(site)) == "0:10:00\n"
    lines = call("-m", "botsession_console", "drivers", cwd=package, PYTHONPATH=str(site)).splitlines()
    (row,) = [line for line in lines if line.startswith("some-db")]
    assert row.split(maxsplit=3)[1:] == [
        "botsession-some-db",
        "0.1.0",
        "expiry, close, replace, touch, scan, commit, quarantine, purge, ping",
    ]


def test_a_bot_runs_on_it(run, site):
    for options in (["--driver", "some-db"], ["--url", "some-db://user:hunter2@localhost"]):
        done = run("console", "mybot:bot", *options, lines="hi\nhi\n", PYTHONPATH=str(site))
        assert done.stdout == "Bot > hi 1\nBot > hi 2\n"
    done = run("console", "--url", "some-db://user:hunter2@nowhere.invalid", lines="hi\n", PYTHONPATH=str(site))
    assert done.returncode == FAILED
    assert "does not answer: no such host" in done.stderr
    assert "hunter2" not in done.stderr
    done = run("new-driver", "some-db", PYTHONPATH=str(site))
    refuses(done, "a driver 'some-db' is already installed (by botsession-some-db)")


@pytest.mark.lint
@pytest.mark.parametrize("name", ["x", "some-db", "a2345678-b2345678_c2345678-d23"])
def test_it_is_clean_in_the_eyes_of_ruff(name, tmp_path):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed; it comes with the dependency group `lint`")
    generate(tmp_path, name)
    (package,) = tmp_path.iterdir()
    module = package.name.replace("-", "_")
    own = ["--no-cache"]
    ours = [*own, "--config", str(ROOT / "pyproject.toml")]
    call("-m", "ruff", "check", *own, cwd=package)
    call("-m", "ruff", "check", *ours, "--config", f"lint.isort.known-first-party=['{module}']", cwd=package)
    for config in (own, ours):
        call("-m", "ruff", "format", "--check", "--diff", *config, cwd=package)


@pytest.mark.lint
def test_it_is_clean_in_the_eyes_of_mypy(package, tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed; it comes with the dependency group `lint`")
    call("-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "src", "tests", cwd=package, MYPYPATH="src")


def refuses(done, *parts):
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("botsession: ")
    for part in parts:
        assert part in line
    assert done.returncode == MISCONFIGURED


@pytest.mark.parametrize(
    "name", ["", "Some", "3x", "a--b", "a-_b", "a-", "_a", "a.b", "a b", "ä", "../x", "/x", "a\nb", "x" * 31]
)
def test_what_is_no_name(run, folder, name):
    refuses(run("new-driver", name), "is not a valid driver name. Use at most 30", f"{name!r}")
    assert tree(folder) == ["mybot.py"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("memory", ["'memory' is already installed (by botsession-memory)"]),
        ("core", ["botsession-core is a package of botsession itself"]),
        ("redis", ["Choose another name"]),
        ("botsession-some", ["does not include botsession-", "botsession new-driver some"]),
        ("botsession_some", ["botsession new-driver some"]),
        ("--name", ["NAME"]),
    ],
)
def test_a_name_that_is_taken(run, folder, name, parts):
    refuses(run("new-driver", name), *parts)
    assert tree(folder) == ["mybot.py"]


def test_a_package_of_that_name_is_installed(run, folder):
    info = folder / "site" / "botsession_some_db-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: botsession-some-db\nVersion: 1.2\n")
    done = run("new-driver", "some-db", PYTHONPATH=str(folder / "site"))
    refuses(done, "botsession-some-db is already installed")


def test_nothing_is_overwritten(run, folder):
    target = folder / "botsession-some-db"
    target.write_text("a file")
    refuses(run("new-driver", "some-db"), "botsession-some-db already exists")
    assert target.read_text() == "a file"
    target.unlink()
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    refuses(run("new-driver", "some-db"), "botsession-some-db already exists")
    assert tree(target) == ["notes.txt"]
    (target / "notes.txt").unlink()
    assert run("new-driver", "some-db").returncode == 0
    refuses(run("new-driver", "some-db"), "botsession-some-db already exists")


def test_a_folder_that_cannot_be_made(run, folder):
    (folder / "plain").write_text("")
    refuses(run("new-driver", "some-db", "--directory", "plain"), "plain", "cannot write")


def test_it_costs_nothing_where_it_is_not_asked_for(folder):
    program = (
        "import contextlib, sys; from botsession_console.command import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print([name for name in sys.modules if name in ('botsession', 'botsession_console.new_driver')])"
    )
    assert call("-c", program, cwd=folder).splitlines()[-1] == "[]"
