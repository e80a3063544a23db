"""The doctor's checks of configuration and packages, and its probe session."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from botsession import (
    Lifetime,
    Settings,
    StoreError,
    StoreUnavailableError,
    load_settings,
)
from botsession.storage.clocks import compare_clocks
from botsession.testing import ManualClock
from botsession_memory import MemorySessionStore
from botsession_operations.doctor import examine, examine_store, failure
from botsession_operations.doctor.packages import examine_packages
from botsession_operations.doctor.settings import describe_settings, masked, read_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    for name in ("CONFIG", "DRIVER", "URL", "EXPIRES_IN"):
        monkeypatch.delenv(f"BOTSESSION_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def examined(arguments=None, **options):
    found = []
    asyncio.run(examine(found.append, arguments, **options))
    return found


def examined_store(store):
    found = []
    asyncio.run(examine_store(store, found.append))
    return found


def of(findings, topic):
    return [finding for finding in findings if finding.topic == topic]


def messages(findings):
    return [finding.message for finding in findings]


def test_each_setting_is_told_with_its_origin(tmp_path, monkeypatch):
    file = tmp_path / "botsession.toml"
    file.write_text(
        'driver = "rediss"\nmax_lifetime = 1440\ninitial_state = { a = 1, b = 2 }\n'
        '[stores.redis]\nhost = "127.0.0.1"\npassword = "hunter2"\n[stores.file]\ndirname = "unused"\n'
    )
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "never")
    settings, errors = read_settings(Settings(), None)
    assert errors == []
    assert messages(describe_settings(settings)) == [
        f'driver = "rediss" ({file})',
        "expires_in = never (BOTSESSION_EXPIRES_IN)",
        f"max_lifetime = 1,440 minutes ({file})",
        f"initial_state with 2 keys ({file})",
        f'host = "127.0.0.1" ({file} [stores.redis])',
        f"password = *** ({file} [stores.redis])",
    ]


def test_where_nothing_is_set_the_defaults_are_told():
    assert messages(describe_settings(Settings())) == [
        'driver = "memory" (the default)',
        "expires_in = 525,600 minutes, 365 days (the default)",
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("url", "redis://bot:hunter2@db/0", '"redis://***@db/0"'),
        ("url", "redis://bot:hun@ter/2@db/0", '"redis://***@db/0"'),
        ("url", "redis://db/0?password=hunter2&socket_timeout=3", '"redis://db/0?password=***&socket_timeout=3"'),
        ("url", "mongodb://db/?w=1&authSource=admin&tlsCertificateKeyFilePassword=hunter2", None),
        ("url", "sqlite:///a.db?flag", '"sqlite:///a.db?flag"'),
        ("dsn", "host=db password=hunter2", '"***"'),
        ("connection", "Endpoint=x;AccountKey=hunter2==", '"***"'),
        ("password", "hunter2", "***"),
        ("url", "bot:hunter2@db", '"***"'),
        ("PASSWD", 1234, "***"),
        ("api_key", "hunter2", "***"),
        ("client", "hunter2", "***"),
        ("key_prefix", "shop:", '"shop:"'),
        ("name", "a\x1b[2Jb\n", '"a\\u001b[2Jb\\n"'),
        ("max_size", 5, "5"),
        ("tls", True, "true"),
        ("ratio", 0.5, "0.5"),
        ("servers", [{"password": "hunter2"}], "a list"),
        ("tls", {"password": "hunter2"}, "a dict"),
    ],
)
def test_secrets_are_not_shown(name, value, told):
    assert "hunter2" not in masked(name, value)
    if told is not None:
        assert masked(name, value) == told
    else:
        assert "authSource=admin" in masked(name, value)


def test_what_is_wrong_in_a_configuration_does_not_hide_the_rest(tmp_path, monkeypatch):
    file = tmp_path / "botsession.toml"
    file.write_text(
        'drvier = "redis"\ndriver = "memory"\nexpires_in = "soon"\n[stores]\nfile = 3\n[stores.memory]\nmax_size = 7\n'
    )
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "-1")
    found = examined()
    errors = [finding for finding in found if finding.level == "error"]
    assert [finding.topic for finding in errors] == ["configuration"] * 4
    assert "did you mean 'driver'?" in errors[1].message
    assert all(finding.remedy for finding in errors)
    assert "of 7 sessions" in of(found, "eviction")[0].message


def test_what_a_setting_at_the_top_goes_before_is_not_listed(tmp_path):
    file = tmp_path / "botsession.toml"
    file.write_text(
        'expires_in = 5\nlock = "local"\nlease_wait = 7\n[stores.memory]\nexpires_in = 3\nmax_lifetime = "never"\n'
    )
    assert messages(describe_settings(load_settings(file))) == [
        'driver = "memory" (the default)',
        f"expires_in = 5 minutes ({file})",
        f'lock = "local" ({file})',
        f"lease_wait = 7 ({file})",
        f"max_lifetime = never ({file} [stores.memory])",
    ]


def test_what_nobody_reads_is_an_error_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("BOTSESSION_DRIVR", "file")
    (tmp_path / "botsession.toml").write_text(
        'driver = "memory"\n[stores.memry]\nmax_size = 7\n[stores.mongo]\n[stores."a.b:Memory"]\n'
    )
    found = examined()
    errors = [finding for finding in found if finding.level == "error"]
    assert [(error.topic, error.message.partition(" (did")[0]) for error in errors] == [
        ("configuration", "the environment: unknown variable BOTSESSION_DRIVR"),
        (
            "configuration",
            f"{tmp_path / 'botsession.toml'} [stores.memry]: nothing reads this section because there is no driver 'memry'",
        ),
    ]
    assert "did you mean 'memory'?" in errors[1].message
    assert any("a probe session was created" in message for message in messages(found))


def test_a_file_that_cannot_be_read_is_an_error_and_the_rest_goes_on(tmp_path):
    (tmp_path / "botsession.toml").write_text("driver =")
    found = examined(Settings(driver="memory", origins={"driver": "--driver"}))
    assert "not valid TOML" in found[0].message
    assert found[0].level == "error"
    assert 'driver = "memory" (--driver)' in messages(found)
    assert of(found, "access")[0].level == "ok"
    assert "does not exist" in examined(config="missing.toml")[0].message


def test_a_driver_that_is_missing():
    (error,) = [finding for finding in examined(Settings(driver="nosuch")) if finding.level != "ok"]
    assert error.topic == "driver"
    assert error.message.startswith("no driver 'nosuch' is installed")
    assert error.remedy == "Install the package that provides it."


def test_a_url_in_the_place_of_a_driver_does_not_tell_its_password():
    found = examined(Settings(driver="redis://bot:hunter2@db/0"))
    assert found[-1].level == "error"
    assert "hunter2" not in repr(found)


def test_options_that_are_wrong(tmp_path):
    found = examined(Settings(driver="memory", stores={"memory": {"max_sise": 3}}))
    assert found[-1].level == "error"
    assert "no option 'max_sise' (did you mean 'max_size'?)" in found[-1].message
    assert found[-1].remedy


def test_packages_that_do_not_fit(tmp_path, monkeypatch):
    info = tmp_path / "botsession_couch-1.2.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\nName: botsession-couch\nVersion: 1.2\nRequires-Dist: botsession-core (>=7,<8)\n"
        "Requires-Dist: nosuch-client[fast]>=2\nRequires-Dist: pluggy>=1\nRequires-Dist: pytest<1; extra == 'test'\n"
    )
    info.joinpath("entry_points.txt").write_text("[botsession.drivers]\ncouch = botsession_couch\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from botsession import drivers

    drivers.refresh()
    try:
        offered, core, client = examine_packages("couch")
    finally:
        drivers.refresh()
    assert offered.message.startswith("botsession-couch 1.2 offers driver 'couch'")
    assert core.level == client.level == "error"
    assert "needs botsession-core<8,>=7, but 0." in core.message
    assert core.remedy == "pip install --upgrade botsession-couch"
    assert "needs nosuch-client, which is not installed" in client.message
    assert client.remedy == "pip install 'nosuch-client>=2'"


class Wrapped:
    """A store with only the four required methods, on top of a memory store."""

    def __init__(self):
        self.inner = MemorySessionStore()

    async def init(self):
        await self.inner.init()
        return self

    async def read(self, session_id):
        return await self.inner.read(session_id)

    async def write(self, session_id, session):
        await self.inner.write(session_id, session)

    async def destroy(self, session_id):
        await self.inner.destroy(session_id)


def test_a_store_of_four_methods():
    store = Wrapped()
    found = examined_store(store)
    assert [(finding.level, finding.topic) for finding in found] == [
        ("ok", "backend"),
        ("ok", "access"),
        ("warning", "turns"),
    ]
    assert len(store.inner._records) == 0


@pytest.mark.parametrize("operation", ["read", "replace", "touch", "destroy"])
@pytest.mark.parametrize(
    "error", [StoreUnavailableError("it refuses", remedy="Give it the right."), asyncio.CancelledError()]
)
def test_a_probe_that_fails_leaves_nothing_behind(operation, error):
    class Failing(MemorySessionStore):
        failed = 0

    async def fail(self, *arguments, **options):
        own = getattr(MemorySessionStore, operation)
        self.failed += 1
        if self.failed == (2 if operation == "replace" else 1):
            raise error
        return await own(self, *arguments, **options)

    setattr(Failing, operation, fail)
    store = Failing()
    if isinstance(error, asyncio.CancelledError):
        with pytest.raises(asyncio.CancelledError):
            examined_store(store)
    else:
        (finding,) = [finding for finding in examined_store(store) if finding.level == "error"]
        assert (finding.topic, finding.message, finding.remedy) == ("access", "it refuses", "Give it the right.")
    if operation != "destroy":
        assert list(store._records) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"read": lambda self, own, session_id: _none()},
        {"destroy": lambda self, own, session_id: _none()},
    ],
)
def test_a_store_that_forgets_or_keeps(broken):
    ((operation, behaviour),) = broken.items()

    class Broken(MemorySessionStore):
        pass

    async def call(self, *arguments, **options):
        return await behaviour(self, getattr(MemorySessionStore, operation), *arguments, **options)

    setattr(Broken, operation, call)
    errors = [finding for finding in examined_store(Broken()) if finding.level == "error"]
    assert errors[0].topic == "access"


async def _none():
    return None


def test_a_store_that_raises_anything_does_not_end_the_examination():
    class Rude(MemorySessionStore):
        async def scan(self, prefix="", *, after=None, limit=None):
            raise LookupError("not today")

    found = examined_store(Rude())
    assert of(found, "sessions")[0].message == "LookupError: not today"
    assert of(found, "durability")


def test_unreadable_sessions_are_counted():
    async def main():
        store = await MemorySessionStore().init()
        from botsession import Session

        for number in range(5):
            await store.write(f"a:{number}", Session(f"a:{number}"))
            if number:
                store._records[f"a:{number}"] = b"{", None
        found = []
        await examine_store(store, found.append)
        return found

    (finding,) = of(asyncio.run(main()), "sessions")
    assert finding.level == "warning"
    assert finding.message == "1 sessions; 4 unreadable: 'a:1', 'a:2', 'a:3', ..."


def test_the_remedy_of_an_error_is_the_finding_s():
    found = failure("x", StoreError("a; b", remedy="Do\nc."))
    assert (found.message, found.remedy) == ("a; b", "Do c.")
    assert failure("x", StoreError("a\nb")).message == "a b"
    assert failure("x", StoreUnavailableError("gone")).remedy == "Start the backend, or correct its address."
    assert failure("x", KeyError()).message == "KeyError"


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, "ok", "agree"),
        (0.9, "ok", "agree"),
        (5, "warning", "5.0 s ahead of this machine's, so it ends sessions too early"),
        (-300, "warning", "5 minutes behind"),
        (700, "error", "12 minutes ahead"),
    ],
)
def test_clocks(ahead, level, words):
    clock = ManualClock()
    lifetime = Lifetime(10, clock=clock)
    finding = compare_clocks(lifetime, lifetime.now(), lifetime.now() + timedelta(seconds=ahead), server="the server")
    assert finding.level == level
    assert words in finding.message
    assert bool(finding.remedy) == (level != "ok")


def test_a_slow_answer_is_no_difference_of_clocks():
    clock = ManualClock()
    lifetime = Lifetime(clock=clock)
    before = lifetime.now()
    clock.advance(milliseconds=10_000)
    assert compare_clocks(lifetime, before, before + timedelta(seconds=9), server="x").level == "ok"
