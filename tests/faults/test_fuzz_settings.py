"""Arbitrary settings and URLs give a store or one of our errors, and never disclose a password."""

from __future__ import annotations

import datetime as dt
import os
import traceback

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from botsession import (
    BotSessionError,
    Sessions,
    SessionStore,
    load_settings,
    open_store,
)

SECRET = "hunter2"
DRIVERS = ["memory", "file", "redis", "rediss", "valkey", "valkeys", "mongo", "mongodb", "mongodb+srv", "mirror"]
SETTINGS = ["driver", "url", "expires_in", "max_lifetime", "initial_state", "stores"]
OPTIONS = [
    "url", "host", "port", "username", "password", "db", "unix_socket_path", "tls", "key_prefix", "timeout", "client",
    "max_connections", "expires_in", "max_lifetime", "clock", "dirname", "max_size", "collection_name", "api", "self",
]  # fmt: skip

# The values of TOML: no null, and integers of any size.
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 10**30, 6379, 65_536])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["never", "", "1", "motor", "redis://u@localhost", "mongodb://localhost/a", "file://a", "memory://"]
    )
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
PASSWORDS = st.fixed_dictionaries(
    {}, optional={"password": st.just(SECRET), "url": st.sampled_from([f"{each}://u:{SECRET}@h" for each in DRIVERS])}
)
SECTIONS = st.dictionaries(
    st.sampled_from(DRIVERS) | st.text(max_size=6),
    VALUES
    | st.tuples(st.dictionaries(st.sampled_from(OPTIONS) | st.text(max_size=8), VALUES, max_size=4), PASSWORDS).map(
        lambda both: both[0] | both[1]
    ),
    max_size=3,
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SETTINGS, VALUES),
        "driver": st.sampled_from(DRIVERS) | VALUES,
        "stores": SECTIONS | VALUES,
        "initial_state": st.dictionaries(st.text(max_size=6), VALUES, max_size=3) | VALUES,
        "unknown": VALUES,
    },
)


def examples(scale, short, long):
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=scale(short, long), deadline=None, suppress_health_check=checks, database=None)


def told_by(error):
    """Return everything that a log would show of an error."""
    return "".join(traceback.format_exception(error, limit=0))


def store_of(make, *arguments):
    """Return a store, or `None` after a `BotSessionError`. Check that neither shows the secret."""
    try:
        store = make(*arguments)
    except BotSessionError as error:
        assert SECRET not in told_by(error)
        return None
    assert isinstance(store, SessionStore | Sessions)
    assert SECRET not in repr(store)
    assert SECRET not in repr(getattr(store, "store", None))
    return store


def toml(value):
    """Return a value as TOML, since the standard library can only read TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(each):08x}" for each in value.replace("\ud800", "")) + '"'
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Isolate the test from any other configuration."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BOTSESSION_")]:
        monkeypatch.delenv(name)


def test_tables(scale):
    @examples(scale, 300, 20_000)
    @given(TABLES)
    def try_table(table):
        store_of(open_store, table)
        store_of(Sessions, table)

    try_table()


def test_files(scale, tmp_path):
    """Well-formed TOML and arbitrary text."""
    path = tmp_path / "botsession.toml"

    @examples(scale, 200, 10_000)
    @given(
        TABLES.map(lambda table: "\n".join(f"{key} = {toml(value)}" for key, value in table.items()).encode())
        | st.binary(max_size=60)
        | st.text(alphabet="[]=\"'{}.,\n driveustos:/", max_size=60).map(str.encode)
    )
    def try_file(content):
        path.write_bytes(content)
        try:
            load_settings(path)
        except BotSessionError as error:
            assert SECRET not in told_by(error)
        store_of(open_store)

    try_file()


WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20) | st.sampled_from(
    ["never", "0", "-1", "nan", "inf", "1e400", "१०", "10_0", " 10 ", "0x10", "memory", "redis:", "://"]
)


def test_the_environment(scale, monkeypatch):
    @examples(scale, 150, 5000)
    @given(st.dictionaries(st.sampled_from(["DRIVER", "URL", "EXPIRES_IN", "CONFIG"]), WORDS, max_size=3))
    def try_environment(variables):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"BOTSESSION_{name}", value)
            store_of(open_store)

    try_environment()


PARTS = st.text(alphabet="ab1:/?#[]@%&=,;+ é\\", max_size=6)
SCHEMES = ["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "mongodb", "mongo", "mongodb+srv"]
HOSTS = ["localhost", "127.0.0.1", "[::1]", "[::1", "a,b:1,c", "", "h:port", "h:99999", "h:-1", "é.example"]
ENDS = [
    "",
    "/",
    "/0",
    "/x",
    "/0/1",
    "//",
    "?db=x",
    "?timeout=x",
    "?w=0",
    "?w=x",
    "?tls=maybe",
    "?authMechanism=X",
    "#x",
]
URLS = st.tuples(
    st.sampled_from([*SCHEMES, "REDIS", "memory", "file", "mirror"]),
    st.sampled_from(["://", ":///", ":/", ":", "//", ""]),
    PARTS,
    st.sampled_from(["@", "", "@@", "%40"]),
    st.sampled_from(HOSTS) | PARTS,
    st.sampled_from(ENDS) | PARTS,
    PARTS,
).map("".join)
# Not for unix: after an unescaped / or @ the rest of a password is an ordinary path.
URLS_WITH_A_PASSWORD = st.tuples(
    st.sampled_from([scheme for scheme in SCHEMES if scheme != "unix"]),
    st.just("://"),
    st.sampled_from(["", "user", "us%65r"]),
    st.just(":"),
    PARTS,
    st.just(SECRET),
    PARTS,
    st.just("@"),
    st.sampled_from(HOSTS),
    st.sampled_from(ENDS),
).map("".join)


def try_everywhere(url):
    store_of(open_store, url)
    store_of(open_store, {"url": url})
    store_of(open_store, {"driver": "redis", "stores": {"redis": {"url": url}}})
    store_of(open_store, {"driver": "mongo", "stores": {"mongo": {"url": url}}})


def test_urls(scale):
    @examples(scale, 200, 20_000)
    @given(URLS)
    def try_url(url):
        try_everywhere(url)

    try_url()


def test_passwords_in_urls(scale):
    """A password in a URL is never repeated, whether or not its characters are escaped."""

    @examples(scale, 300, 30_000)
    @given(URLS_WITH_A_PASSWORD)
    @example(f"redis://user:{SECRET}#1@localhost")
    @example(f"redis://user:{SECRET}/1@localhost")
    @example(f"redis://user:{SECRET}:1@localhost")
    @example(f"redis://user:@{SECRET}#1@localhost")
    @example(f"redis://user:@{SECRET}?1@localhost")
    @example(f"unix://user:/{SECRET}@/run/redis.sock")
    @example(f"mongodb://user:{SECRET}#1@localhost")
    @example(f"mongodb://user:{SECRET}/1@localhost")
    @example(f"mongodb://user:1@{SECRET}@localhost")
    @example(f"mongodb://user:@{SECRET}/1@localhost")
    @example(f"mongodb://user:@{SECRET}?a=1@localhost")
    def try_url(url):
        try_everywhere(url)

    try_url()
