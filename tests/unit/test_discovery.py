"""Discovery under stress, with packages laid out on disk as pip installs them."""

import subprocess
import sys
import textwrap

import pytest

from botsession import (
    ConfigError,
    DriverConflictError,
    DriverLoadError,
    DriverNotFoundError,
    hookimpl,
    open_store,
    utc_now,
)
from botsession.configuration.discovery import Drivers

GOOD = """
    from botsession import construct, hookimpl

    class Store:
        def __init__(self, url: str = "nowhere://", size: int = 1):
            self.url, self.size = url, size
        async def init(self): return self
        async def read(self, session_id): return None
        async def write(self, session_id, session): pass
        async def destroy(self, session_id): pass

    @hookimpl
    def open_store(options):
        return construct(Store, options)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Create an installed distribution with one driver module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def installed(distribution, name, code=GOOD, *, version="1.0", module=None):
        module = module or distribution.replace("-", "_")
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[botsession.drivers]\n{name} = {module}\n")
        if code is not None:
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        modules.append(module)

    yield installed
    for module in modules:
        sys.modules.pop(module, None)


def opened(name, **options):
    return Drivers().open_store(name, options, utc_now)


def test_an_installed_driver_is_opened_by_name(install):
    install("botsession-couch", "couch")
    assert opened("couch", size=3).size == 3
    assert "couch" in Drivers().names()


def test_a_driver_may_take_fewer_arguments_than_the_hook_has(install):
    install("botsession-couch", "couch", GOOD.replace("open_store(options)", "open_store()").replace("options)", "{})"))
    assert opened("couch").size == 1


def test_the_hook_is_told_the_name(install):
    install("botsession-couch", "couchs", GOOD.replace("(options)", "(name)").replace("options)", "{'url': name})"))
    assert opened("couchs").url == "couchs"


def test_nobody_offers_the_name(install):
    install("botsession-couch", "couch")
    with pytest.raises(DriverNotFoundError, match=r"no driver 'coach' is installed .did you mean 'couch'"):
        opened("coach")
    for name in ("zzz", "redis+sentinel", "redis+cluster", "postgres", "postgresql", "sqlite", "dynamodb"):
        with pytest.raises(DriverNotFoundError, match=r"(?i)install the package that provides it") as error:
            opened(name)
        assert "pip install" not in str(error.value)


def test_a_known_name_that_is_not_installed_says_which_package(monkeypatch):
    monkeypatch.setattr(Drivers, "_scan", lambda self: {})
    for name, package in [
        ("memory", "memory"),
        ("redis", "redis"),
        ("valkey", "redis"),
        ("unix", "redis"),
        ("mongodb+srv", "mongo"),
        ("file", "file"),
    ]:
        with pytest.raises(
            DriverNotFoundError,
            match=rf"Installed drivers: nothing\. Install it with: pip install botsession-{package}",
        ):
            opened(name)


def test_two_packages_claim_one_name(install):
    install("botsession-couch", "couch", version="1.2")
    install("acme-couch", "couch", version="3.4")
    with pytest.raises(DriverConflictError, match=r"acme-couch 3\.4 and botsession-couch 1\.2"):
        opened("couch")


def test_a_missing_dependency_is_named(install):
    install("botsession-couch", "couch", "import aiocouch_missing\n" + textwrap.dedent(GOOD), version="1.2")
    with pytest.raises(DriverLoadError, match=r"botsession-couch 1\.2 .* needs the module 'aiocouch_missing'") as error:
        opened("couch")
    assert isinstance(error.value.__cause__, ModuleNotFoundError)


def test_a_client_that_the_hook_does_not_find_is_named(install):
    install(
        "botsession-couch",
        "couch",
        GOOD.replace("return construct", "import aiocouch_missing; return construct"),
        version="1.2",
    )
    with pytest.raises(
        DriverLoadError, match=r"botsession-couch 1\.2 .* needs the module 'aiocouch_missing'.*--force-reinstall"
    ):
        opened("couch")


def test_a_driver_that_does_not_run_on_this_platform_says_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "botsession_file.store", raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    for module in [name for name in sys.modules if name.startswith("botsession_file.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(DriverLoadError, match=f"'file' of botsession-file .* platform, {sys.platform}: .*'fcntl'"):
        open_store("file")


def test_a_driver_that_raises_at_import_harms_no_other(install):
    install("botsession-couch", "couch", "1 / 0")
    install("botsession-lite", "lite")
    registry = Drivers()
    with pytest.raises(DriverLoadError, match="ZeroDivisionError: division by zero"):
        registry.open_store("couch", {}, utc_now)
    assert registry.open_store("lite", {}, utc_now).size == 1


def test_a_stale_entry_point_is_told(install):
    install("botsession-couch", "couch", None)
    with pytest.raises(DriverLoadError, match="its module 'botsession_couch' is missing"):
        opened("couch")


def test_a_driver_that_wants_more_than_this_core_gives_names_both_versions(install):
    install(
        "botsession-couch", "couch", GOOD.replace("open_store(options)", "open_store(options, tracer)"), version="9.0"
    )
    with pytest.raises(
        DriverLoadError, match=r"botsession-couch 9\.0 is not compatible with botsession-core \d.*tracer"
    ):
        opened("couch")


def test_a_misspelt_hook_is_told(install):
    install("botsession-couch", "couch", GOOD.replace("def open_store", "def open_stor"))
    with pytest.raises(DriverLoadError, match="open_stor"):
        opened("couch")


def test_a_module_without_a_hook_is_told(install):
    install("botsession-couch", "couch", "x = 1")
    with pytest.raises(DriverLoadError, match="has no hook open_store"):
        opened("couch")


def test_a_broken_driver_stays_broken_at_the_second_try(install):
    install("botsession-couch", "couch", GOOD.replace("open_store(options)", "open_store(options, tracer)"))
    registry = Drivers()
    for _ in range(2):
        with pytest.raises(DriverLoadError, match="tracer"):
            registry.open_store("couch", {}, utc_now)


def test_a_hook_that_returns_no_store_is_told(install):
    install("botsession-couch", "couch", GOOD.replace("return construct(Store, options)", "return 42"))
    with pytest.raises(DriverLoadError, match="returned int, which is not a SessionStore"):
        opened("couch")


def test_options_are_checked_against_the_constructor(install):
    install("botsession-couch", "couch")
    with pytest.raises(ConfigError, match=r"no option 'sise' .did you mean 'size'\?.\. Its options are url, size"):
        opened("couch", sise=1)
    with pytest.raises(ConfigError, match=r"option 'size' of Store: expected int, got str"):
        opened("couch", size="hunter2")


def test_a_choice_of_words_is_listed(install):
    words = GOOD.replace("from botsession import", "from typing import Literal\n    from botsession import").replace(
        "size: int = 1", 'size: Literal["small", "large"] = "small"'
    )
    install("botsession-couch", "couch", words)
    with pytest.raises(ConfigError, match="option 'size' of Store: expected one of 'small', 'large'"):
        opened("couch", size="huge")


def test_a_name_may_be_disabled(install, monkeypatch):
    install("botsession-couch", "couch")
    monkeypatch.setenv("BOTSESSION_DISABLE_DRIVERS", "other, couch")
    with pytest.raises(DriverLoadError, match="disabled by BOTSESSION_DISABLE_DRIVERS"):
        opened("couch")


def test_a_driver_of_this_process_needs_no_packaging():
    class Plugin:
        @hookimpl
        def open_store(self, options):
            from botsession import open_store

            return open_store("memory", **options)

    registry = Drivers()
    registry.register("mine", Plugin())
    assert repr(registry.open_store("mine", {"max_size": 5}, utc_now)) == "MemorySessionStore(max_size=5)"
    with pytest.raises(DriverConflictError, match="already registered"):
        registry.register("mine", Plugin())
    with pytest.raises(DriverLoadError, match="has no hook"):
        registry.register("empty", object())


def test_names_of_one_module_are_aliases(install):
    install("botsession-couch", "couch", module="couch_driver")
    install("acme-couch", "couches", module="couch_driver", code=None)
    install("botsession-lite", "lite")
    assert Drivers().aliases("couch") == []
    assert "memory" not in Drivers().aliases("lite")


def test_300_distributions_are_scanned_once_and_only_the_named_one_is_loaded(install, monkeypatch):
    for number in range(300):
        install(f"botsession-d{number}", f"d{number}", "raise SystemExit" if number else GOOD)
    import importlib_metadata

    scans = []
    scan = importlib_metadata.entry_points
    monkeypatch.setattr(importlib_metadata, "entry_points", lambda **group: scans.append(group) or scan(**group))
    registry = Drivers()
    assert not scans
    for _ in range(3):
        registry.open_store("d0", {}, utc_now)
    assert scans == [{"group": "botsession.drivers"}]
    assert "botsession_d1" not in sys.modules


def test_a_local_class_is_opened_by_its_path(tmp_path):
    (tmp_path / "mystores.py").write_text(textwrap.dedent(GOOD))
    code = """
        import botsession
        print(botsession.open_store("mystores:Store", size=4).size)
        for path in ("mystores:Nope", "nope.stores:Store", "mystores:hookimpl"):
            try:
                botsession.open_store(path)
            except botsession.BotSessionError as error:
                print(type(error).__name__, error)
        try:
            botsession.open_store("mystores:Store", sise=1)
        except botsession.ConfigError as error:
            print(error)
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = output.stdout.splitlines()
    assert lines[0] == "4"
    assert lines[1] == "DriverNotFoundError driver 'mystores:Nope': module 'mystores' has no 'Nope'"
    assert lines[2] == "DriverNotFoundError driver 'nope.stores:Store': there is no module 'nope' on the import path"
    assert "did you mean 'size'" in lines[4]
