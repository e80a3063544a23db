"""The distributions as a user gets them: built, installed in clean environments, uninstalled.

`nox -s packaging` runs this: it builds them first and names their folder in `BOTSESSION_TEST_DIST`.
"""

from __future__ import annotations

import email
import os
import pathlib
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections import Counter

import pytest

DIST = pathlib.Path(os.environ["BOTSESSION_TEST_DIST"])
DRIVERS = ["memory", "file", "redis", "mongo"]
TOOLS = ["operations", "console"]
DISTRIBUTIONS = ["core", *DRIVERS, *TOOLS]
WHEELS = sorted(DIST.glob("*.whl"))
"""The wheels of the workspace, and that of the example of a third-party driver."""


def wheel_of(name: str) -> pathlib.Path:
    stem = "botsession" if name == "botsession" else f"botsession_{name}"
    (wheel,) = DIST.glob(f"{stem}-[0-9]*.whl")
    return wheel


def metadata_of(wheel: pathlib.Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


class Environment:
    """A clean virtual environment without pip. Another environment's pip installs into it, which is much faster."""

    def __init__(self, folder: pathlib.Path) -> None:
        venv.create(folder)
        self.folder = folder
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")

    def pip(self, *arguments: str) -> str:
        pip = [sys.executable, "-m", "pip", "--python", str(self.scripts / "python")]
        return self.run(*pip, "--quiet", "--disable-pip-version-check", *arguments)

    def install(self, *names: str) -> None:
        self.pip("install", "--no-compile", "--find-links", str(DIST), *(str(wheel_of(name)) for name in names))

    def python(self, code: str) -> str:
        return self.run(str(self.scripts / "python"), "-c", code)

    def run(self, *command: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTSESSION", "PYTHON"))}
        done = subprocess.run(
            command, cwd=self.folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout.strip()

    def opens(self, driver: str) -> str:
        """Return the name of the store class that a driver opens, or the error."""
        return self.python(
            "import botsession\n"
            f"try: print(type(botsession.open_store({driver!r})).__name__)\n"
            "except botsession.BotSessionError as error: print(type(error).__name__, error)\n"
        )


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path / "environment")


def test_every_distribution_is_built_as_wheel_and_sdist():
    for name in ["botsession", *DISTRIBUTIONS]:
        wheel = wheel_of(name)
        assert wheel.with_name(wheel.name.replace("-py3-none-any.whl", ".tar.gz")).exists()


def test_no_two_wheels_own_one_file():
    owners: Counter[str] = Counter()
    for wheel in WHEELS:
        with zipfile.ZipFile(wheel) as archive:
            owners.update(archive.namelist())
    assert [name for name, count in owners.items() if count > 1] == []


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_its_package_its_types_and_the_licence(name):
    package = "botsession" if name == "core" else f"botsession_{name}"
    with zipfile.ZipFile(wheel_of(name)) as archive:
        names = archive.namelist()
    assert f"{package}/py.typed" in names
    assert any(entry.endswith("licenses/LICENSE") for entry in names)
    assert {entry.partition("/")[0].partition("-")[0] for entry in names} == {
        package,
        wheel_of(name).name.partition("-")[0],
    }


def test_the_root_distribution_holds_no_code():
    with zipfile.ZipFile(wheel_of("botsession")) as archive:
        assert all(".dist-info/" in name for name in archive.namelist())
    required = metadata_of(wheel_of("botsession")).get_all("Requires-Dist", [])
    assert [text for text in required if "extra" not in text] == [
        "botsession-core<1,>=0.1",
        "botsession-memory<1,>=0.1",
    ]


def test_every_distribution_is_an_extra_of_the_root():
    metadata = metadata_of(wheel_of("botsession"))
    assert set(metadata.get_all("Provides-Extra", [])) == {*DISTRIBUTIONS, "testing"} - {"core", "memory"}


@pytest.mark.parametrize("name", [*DRIVERS, "operations"])
def test_the_core_is_required_with_a_range(name):
    assert own_requirements_of(name) == ["botsession-core<1,>=0.1"]


def test_the_console_requires_core_and_operations_with_a_range():
    assert own_requirements_of("console") == ["botsession-core<1,>=0.1", "botsession-operations<1,>=0.1"]


def own_requirements_of(name: str) -> list[str]:
    required = metadata_of(wheel_of(name)).get_all("Requires-Dist", [])
    return [text for text in required if text.startswith("botsession")]


@pytest.mark.parametrize("name", ["botsession", *DISTRIBUTIONS])
def test_the_metadata_names_the_same_pythons(name):
    metadata = metadata_of(wheel_of(name))
    assert metadata["Requires-Python"] == ">=3.11"
    named = [text for text in metadata.get_all("Classifier", []) if "Python :: 3." in text]
    assert named == [f"Programming Language :: Python :: {version}" for version in ("3.11", "3.12", "3.13", "3.14")]


@pytest.mark.parametrize("name", ["botsession", *DISTRIBUTIONS])
def test_no_wheel_and_no_sdist_names_a_place_outside(name):
    wheel = wheel_of(name)
    with tarfile.open(wheel.with_name(wheel.name.replace("-py3-none-any.whl", ".tar.gz"))) as archive:
        assert all(not member.name.startswith(("/", "..")) for member in archive)


def test_the_core_alone_says_what_to_install(environment):
    environment.install("core")
    assert environment.opens("memory").startswith("DriverNotFoundError no driver 'memory' is installed")
    assert "pip install botsession-memory" in environment.opens("memory")


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_core_and_one_driver(environment, driver):
    environment.install("core", driver)
    assert environment.opens(driver) == f"{driver.title()}SessionStore"
    for other in set(DRIVERS) - {driver}:
        assert f"pip install botsession-{other}" in environment.opens(other)


def test_the_operations_bring_the_driver_mirror(environment):
    environment.install("core", "memory")
    assert "botsession-operations" in environment.opens("mirror")
    environment.install("operations")
    mirror = "{'driver': 'mirror', 'stores': {'mirror': {'old': 'memory', 'new': 'memory'}}}"
    opened = environment.python(f"import botsession; print(type(botsession.open_store({mirror})).__name__)")
    assert opened == "MirrorSessionStore"


def test_all_in_one_environment_with_a_third_party_driver_and_removed_one_by_one(environment):
    environment.install("botsession", *DISTRIBUTIONS, "sqlite")
    environment.pip("check")
    assert environment.opens("sqlite") == "SqliteSessionStore"
    for driver in DRIVERS:
        assert environment.opens(driver) == f"{driver.title()}SessionStore"
    listing = environment.run(str(environment.scripts / "botsession"), "drivers")
    assert all(f"botsession-{driver}" in listing for driver in DRIVERS)
    for removed in DRIVERS:
        environment.pip("uninstall", "--yes", f"botsession-{removed}")
        assert f"pip install botsession-{removed}" in environment.opens(removed)
        for driver in [*DRIVERS[DRIVERS.index(removed) + 1 :], "sqlite"]:
            assert environment.opens(driver) == f"{driver.title()}SessionStore"


def test_a_driver_for_a_later_core_is_not_installed_with_this_one(environment, tmp_path):
    environment.install("core")
    with pytest.raises(AssertionError) as failure:
        environment.pip("install", "--no-index", "--find-links", str(DIST), str(driver_for(tmp_path, ">=7,<8")))
    assert "botsession-core" in str(failure.value)
    assert ">=7" in str(failure.value)


def test_an_old_driver_forced_into_an_environment_with_a_newer_core_works_or_names_both_versions(environment, tmp_path):
    environment.install("core", "memory")
    environment.pip("install", "--no-deps", str(driver_for(tmp_path, "<0.1", arguments="options")))
    assert environment.opens("old") == "MemorySessionStore"
    environment.pip(
        "install", "--no-deps", "--force-reinstall", str(driver_for(tmp_path, ">=7", arguments="options, tracer"))
    )
    assert environment.opens("old").startswith(
        "DriverLoadError driver 'old' of botsession-old 3.2.1 is not compatible with botsession-core 0.1.0"
    )


def driver_for(folder: pathlib.Path, core: str, *, arguments: str = "options") -> pathlib.Path:
    """Build the wheel, a zip archive, of a driver with some requirement on the core."""
    wheel = folder / "botsession_old-3.2.1-py3-none-any.whl"
    info = "botsession_old-3.2.1.dist-info"
    module = (
        "from botsession import hookimpl\n"
        "@hookimpl\n"
        f"def open_store({arguments}):\n"
        "    from botsession_memory import MemorySessionStore\n"
        "    return MemorySessionStore()\n"
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("botsession_old.py", module)
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: botsession-old\nVersion: 3.2.1\nRequires-Dist: botsession-core{core}\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[botsession.drivers]\nold = botsession_old\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel
