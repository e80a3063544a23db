"""Configuration: file, environment, arguments."""

import asyncio

import pytest

from botsession import (
    ConfigError,
    DriverNotFoundError,
    Sessions,
    SessionTooLargeError,
    StateError,
    load_settings,
    open_store,
)
from botsession.configuration import discovery
from botsession.configuration.sources import find_settings
from botsession_memory import MemorySessionStore

EXAMPLE = """
driver = "memory"
expires_in = 10
initial_state = { count = 0 }

[stores.memory]
max_size = 500
[stores.redis]
host = "127.0.0.1"
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    for name in ("CONFIG", "DRIVER", "URL", "EXPIRES_IN"):
        monkeypatch.delenv(f"BOTSESSION_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_nothing_at_all_is_memory():
    assert repr(open_store()) == "MemorySessionStore(max_size=10000)"


def test_a_file_in_the_working_directory_or_above(tmp_path, monkeypatch):
    (tmp_path / "botsession.toml").write_text(EXAMPLE)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert repr(open_store()) == "MemorySessionStore(max_size=500)"

    async def scenario():
        async with Sessions() as sessions, sessions.turn("telegram:42") as session:
            return session.state, sessions.store.lifetime.expires_in.total_seconds()

    assert asyncio.run(scenario()) == ({"count": 0}, 600)


def test_a_table_in_pyproject(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.botsession.stores.memory]\nmax_size = 7\n")
    assert repr(open_store()) == "MemorySessionStore(max_size=7)"
    (tmp_path / "botsession.toml").write_text(EXAMPLE)
    assert repr(open_store()) == "MemorySessionStore(max_size=500)"


def test_a_pyproject_without_the_table_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "botsession.toml").write_text(EXAMPLE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path / "package")
    assert load_settings().expires_in == load_settings(tmp_path / "botsession.toml").expires_in
    with pytest.raises(ConfigError, match="no table"):
        load_settings("pyproject.toml")


def test_the_environment_overrides_the_file_and_arguments_override_both(tmp_path, monkeypatch):
    (tmp_path / "botsession.toml").write_text('driver = "mongo"\nexpires_in = 10\n')
    monkeypatch.setenv("BOTSESSION_DRIVER", "memory")
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "2.5")
    store = open_store()
    assert store.lifetime.expires_in.total_seconds() == 150
    assert open_store(expires_in=None).lifetime.expires_in is None
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "never")
    assert open_store().lifetime.expires_in is None
    monkeypatch.setenv("BOTSESSION_DRIVER", "redis")
    assert repr(open_store("memory")) == "MemorySessionStore(max_size=10000)"


def test_a_url_in_the_environment_replaces_the_driver_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "botsession.toml").write_text('driver = "mongo"\n')
    monkeypatch.setenv("BOTSESSION_URL", "memory://")
    assert repr(open_store()) == "MemorySessionStore(max_size=10000)"
    settings = find_settings()
    assert settings.origins == {"url": "BOTSESSION_URL"}


def test_where_each_setting_came_from(tmp_path, monkeypatch):
    file = tmp_path / "botsession.toml"
    file.write_text(EXAMPLE)
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "5")
    assert find_settings(max_lifetime=60).origins == {
        "driver": str(file),
        "expires_in": "BOTSESSION_EXPIRES_IN",
        "initial_state": str(file),
        "max_lifetime": "an argument",
        "stores.memory.max_size": f"{file} [stores.memory]",
        "stores.redis.host": f"{file} [stores.redis]",
    }


def test_where_an_option_came_from_if_two_configurations_have_its_section(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("[tool.botsession.stores.memory]\nmax_size = 3\n")
    lower = load_settings()
    section = f"{tmp_path / 'pyproject.toml'} [tool.botsession.stores.memory]"
    assert lower.origins == {"stores.memory.max_size": section}
    upper = find_settings({"stores": {"memory": {"expires_in": 3}}})
    assert upper.over(lower).origins == {"stores.memory.expires_in": "the given configuration [stores.memory]"}


def test_a_named_file(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.toml").write_text("[stores.memory]\nmax_size = 3\n")
    monkeypatch.setenv("BOTSESSION_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert repr(open_store()) == "MemorySessionStore(max_size=3)"
    monkeypatch.setenv("BOTSESSION_CONFIG", "missing.toml")
    with pytest.raises(ConfigError, match=r"configuration file missing\.toml does not exist"):
        open_store()


def test_a_mapping_takes_the_place_of_file_and_environment(tmp_path, monkeypatch):
    (tmp_path / "botsession.toml").write_text("not toml at all")
    monkeypatch.setenv("BOTSESSION_DRIVER", "nosuch")
    assert (
        repr(open_store({"driver": "memory", "stores": {"memory": {"max_size": 2}}}))
        == "MemorySessionStore(max_size=2)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "is not valid TOML"),
        ("drivr = 'memory'", "unknown setting 'drivr' .did you mean 'driver'"),
        ("driver = 3", "driver must be a string, not int"),
        ("expires_in = 'soon'", "expires_in is a number of minutes above zero"),
        ("expires_in = 0", "expires_in is a number of minutes above zero"),
        ("expires_in = true", "expires_in is a number of minutes above zero"),
        ("expires_in = nan", "expires_in is a number of minutes above zero"),
        ("initial_state = 3", "initial_state must be a table"),
        ("initial_state = { at = 2026-11-23 }", r"initial_state\.at: .*date is not a JSON value"),
        ("stores = 3", "stores must be a table"),
        ("[stores]\nmemory = 3", "stores.memory must be a table"),
        ("url = 'nowhere'", "a URL starts with a driver's name and ://"),
        ("[stores.memory]\nmax_sise = 3", "has no option 'max_sise' .did you mean 'max_size'"),
        ("[stores.memory]\nmax_size = '3'", "option 'max_size' of MemorySessionStore: expected int, got str"),
        ("[stores.memory]\nmax_size = 0", "max_size is not a number of sessions above zero"),
        ("driver = ''", r"botsession\.toml: driver is empty"),
        ("url = ''", r"botsession\.toml: url is empty"),
        ("url = '://localhost'", "a URL starts with a driver's name and ://"),
        (
            "[stores.memory]\nexpires_in = 'soon'",
            r"botsession\.toml: stores\.memory\.expires_in is a number of minutes",
        ),
        ("[stores.memory]\nmax_lifetime = 0", r"botsession\.toml: stores\.memory\.max_lifetime is a number of minutes"),
        ("lock = 'never'", r"botsession\.toml: lock must be one of 'auto', 'local', 'none', not 'never'"),
        ("lock = ['auto']", "lock must be one of 'auto', 'local', 'none'"),
        ("lease_ttl = 0", r"botsession\.toml: lease_ttl must be a number of seconds above zero, not 0"),
        ("lease_wait = true", "lease_wait must be a number of seconds above zero, not True"),
        ("lease_wait = inf", "lease_wait must be a number of seconds above zero, not inf"),
        ("max_session_size = '1 MB'", "max_session_size must be a number of bytes above zero, not '1 MB'"),
    ],
)
def test_mistakes_in_the_file_are_told(tmp_path, text, message):
    (tmp_path / "botsession.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        open_store()


def test_mistakes_in_the_environment_are_told(monkeypatch):
    monkeypatch.setenv("BOTSESSION_EXPIRES_IN", "ten")
    with pytest.raises(ConfigError, match="BOTSESSION_EXPIRES_IN: expires_in is a number of minutes"):
        open_store()


def test_an_unreadable_file_is_told(tmp_path):
    (tmp_path / "botsession.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        open_store()


def test_a_directory_in_the_place_of_the_file_is_told(tmp_path):
    (tmp_path / "botsession.toml").mkdir()  # Docker creates a directory if a file to be mounted is missing
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*botsession\.toml: .*directory"):
        open_store()


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "botsession.toml").symlink_to("missing.toml")
    with pytest.raises(ConfigError, match=r"configuration file .*botsession\.toml does not exist"):
        open_store()


def test_a_folder_that_cannot_be_looked_into_is_told(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.lstat", refuse)
    with pytest.raises(ConfigError, match=r"cannot determine whether .*botsession\.toml exists: .*Permission denied"):
        open_store()


def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="working directory does not exist"):
        open_store()


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "botsession.toml").write_text("[stores.memory]\nmax_size = 7\n", encoding="utf-8-sig")
    assert repr(open_store()) == "MemorySessionStore(max_size=7)"


def test_a_section_may_say_never(tmp_path):
    (tmp_path / "botsession.toml").write_text('[stores.memory]\nexpires_in = "never"\nmax_lifetime = 30\n')
    lifetime = open_store().lifetime
    assert lifetime.expires_in is None
    assert lifetime.max_lifetime.total_seconds() == 1800


def test_limits_of_turns_come_from_the_file_and_arguments_go_before(tmp_path):
    (tmp_path / "botsession.toml").write_text(
        'lock = "local"\nlease_ttl = 2\nlease_wait = 3.5\nmax_session_size = 40\n'
    )

    async def save(sessions):
        async with sessions, sessions.turn("telegram:42") as session:
            session.state["text"] = "x" * 50

    configured = Sessions()
    assert configured._storage.leases is None
    with pytest.raises(SessionTooLargeError, match="at most 40 are allowed"):
        asyncio.run(save(configured))
    asyncio.run(save(Sessions(max_session_size=100)))
    leases = Sessions("file", lock="auto", lease_ttl=7)._storage.leases
    assert (leases.ttl, leases.wait) == (7, 3.5)
    handed_in = Sessions(open_store("file"))._storage
    assert (handed_in.leases.ttl, handed_in.max_session_size) == (5, 1_048_576)


def test_a_mapping_may_hold_the_limits_of_turns():
    assert Sessions({"lock": "none", "max_session_size": 7})._storage.max_session_size == 7


@pytest.mark.parametrize("state", [["a"], "a", 3, ()])
def test_an_initial_state_that_is_no_object_is_told(state):
    with pytest.raises(StateError, match="initial_state: a state is a JSON object, not"):
        Sessions("memory", initial_state=state)


@pytest.mark.parametrize("source", ["", {"driver": ""}, {"url": ""}])
def test_an_empty_name_is_never_taken_for_memory(source):
    with pytest.raises(ConfigError, match="is empty"):
        Sessions(source)


@pytest.mark.parametrize("source", [{1: 2}, {"stores": {"memory": {1: 2}}}])
def test_a_key_that_is_no_text_is_told(source):
    with pytest.raises(ConfigError, match=r"unknown setting 1\.|no option 1\."):
        Sessions(source)


def test_a_class_in_the_place_of_a_store_is_told():
    with pytest.raises(ConfigError, match=r"MemorySessionStore is a class, not a store\. Pass an instance"):
        Sessions(MemorySessionStore)


@pytest.mark.parametrize("source", [42, object(), ["memory"]])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(ConfigError, match="a store cannot be made from"):
        Sessions(source)


def test_settings_of_a_ready_store_belong_to_the_store():
    store = open_store("memory")
    with pytest.raises(ConfigError, match="Give expires_in to the store itself"):
        Sessions(store, expires_in=10)
    with pytest.raises(ConfigError, match="Give max_size to the store itself"):
        Sessions(store, max_size=10)
    with pytest.raises(ConfigError, match="Give clock to the store itself"):
        Sessions(store, clock=store.lifetime.now)


@pytest.mark.parametrize("length", ["10", "PT5M", "never", 0])
def test_a_length_of_time_as_an_argument_is_checked_at_once(length):
    with pytest.raises(ConfigError, match="expires_in is a number of minutes above zero, or None for never"):
        open_store("memory", expires_in=length)


def test_the_scheme_of_a_url_may_be_written_in_capitals():
    assert repr(open_store("MEMORY://")) == "MemorySessionStore(max_size=10000)"


def test_a_url_without_slashes_gets_a_hint():
    with pytest.raises(DriverNotFoundError, match="A URL starts with memory://"):
        open_store("memory:x")


def test_a_url_in_the_place_of_a_driver_is_refused_without_showing_its_password():
    with pytest.raises(ConfigError, match="driver must be a name, not a URL") as refused:
        open_store({"driver": "redis://user:hunter2@localhost"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("driver", ["redis:/ada:hunter2@host", "redis//ada:hunter2@host", "ada:hunter2@host"])
def test_what_looks_like_a_url_gone_wrong_is_not_repeated(driver):
    with pytest.raises(ConfigError, match="may contain a password") as caught:
        open_store(driver)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("[stores.reddis]\nhost = 'db'\n", r"botsession\.toml \[stores\.reddis\]: .*'reddis' .did you mean 'redis'"),
        ("[stores.reddis]\n", r"\[stores\.reddis\]: .*there is no driver 'reddis'"),
        ("[stores.Memory]\nmax_size = 3\n", r"'Memory' .did you mean 'memory'"),
        ("[stores.somedb]\nhost = 'db'\n", "nothing reads this section because there is no driver 'somedb'"),
    ],
)
def test_a_section_that_nobody_reads_is_told(tmp_path, section, told):
    (tmp_path / "botsession.toml").write_text(f'driver = "memory"\n{section}')
    with pytest.raises(ConfigError, match=told):
        Sessions()
    with pytest.raises(ConfigError, match=told):
        open_store("memory")


def test_sections_of_other_drivers_are_left_alone(monkeypatch):
    monkeypatch.setattr(discovery.drivers, "_found", {"memory": discovery.drivers._scan()["memory"]})
    sections = {
        name: {"url": "x"}
        for name in ("redis", "rediss", "valkey", "unix", "mongo", "mongodb+srv", "file", "my.stores:Mine")
    }
    assert open_store({"driver": "memory", "stores": sections})


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("BOTSESSION_DRIVR", "unknown variable BOTSESSION_DRIVR .did you mean 'BOTSESSION_DRIVER'.*The variables are"),
        ("BOTSESSION_EXPIRESIN", "did you mean 'BOTSESSION_EXPIRES_IN'"),
        ("BOTSESSION_LEASE_TTL", r"BOTSESSION_LEASE_TTL\. Set lease_ttl in the configuration file or as an argument"),
        ("BOTSESSION_ZZZ", "unknown variable BOTSESSION_ZZZ"),
    ],
)
def test_a_variable_that_nobody_reads_is_told(monkeypatch, variable, told):
    monkeypatch.setenv(variable, "file")
    for use in (Sessions, load_settings, lambda: Sessions("memory")):
        with pytest.raises(ConfigError, match=told):
            use()
    assert open_store({"driver": "memory"})  # a mapping replaces file and environment
    monkeypatch.setenv(variable, "")
    assert open_store("memory")


def test_variables_of_tests_and_of_others_are_left_alone(monkeypatch):
    monkeypatch.setenv("BOTSESSION_TEST_REDIS_URL", "redis://localhost")
    monkeypatch.setenv("BOTSESSIONS_DRIVER", "file")
    monkeypatch.setenv("BOTSESSION_DISABLE_DRIVERS", "redis")
    assert open_store("memory")


def test_a_wrong_option_says_where_it_was_found(tmp_path):
    (tmp_path / "botsession.toml").write_text("[stores.memory]\nmax_size = 'many'\n")
    with pytest.raises(
        ConfigError, match=r"botsession\.toml \[stores\.memory\]: option 'max_size' of MemorySessionStore"
    ):
        open_store("memory")
    with pytest.raises(ConfigError, match=r"^option 'max_size' of MemorySessionStore"):
        open_store("memory", max_size="few")


def test_a_table_of_pyproject_outside_of_tool_is_told(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[botsession]\ndriver = "file"\n')
    with pytest.raises(ConfigError, match=r"nothing reads \[botsession\]\. Did you mean \[tool\.botsession\]"):
        Sessions()


@pytest.mark.parametrize("name", ["botsesion", "botsessions", "bot-session", "bot_session", "Botsession", "BotSession"])
def test_a_misspelt_table_of_pyproject_is_told(tmp_path, name):
    (tmp_path / "pyproject.toml").write_text(f'[tool.{name}]\ndriver = "file"\n')
    with pytest.raises(ConfigError, match=rf"nothing reads \[tool\.{name}\]\. Did you mean \[tool\.botsession\]"):
        Sessions()


def test_tables_of_other_tools_are_left_alone(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.botsession-sqlite]\na = 1\n[tool.botocore]\n[tool.bot]\n[tool.ruff]\n"
    )
    assert Sessions()
