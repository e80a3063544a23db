"""Arbitrary ids and stored bytes: each id stays distinct, and anything that is not a session raises a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import unicodedata
import urllib.parse
from datetime import UTC, datetime, timedelta

import backends
import bson
import pytest
from faults.damages import stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botsession import (
    BotSessionError,
    CorruptSessionError,
    InvalidSessionIdError,
    Session,
    Sessions,
    StoreError,
)
from botsession.ids import check_session_id
from botsession.protocol import Step, SupportsQuarantine
from botsession_memory import MemorySessionStore

ID = "fuzzed:42"
CANARY = "canary:1"

MEANINGFUL = [
    "../../../etc/passwd", "..", ".", "/", "//", "/etc/passwd", "C:\\aux", "con", "nul.txt", "~root", "a/b", ".lock",
    ".botsession", "x.json", "x.tmp", "%2e%2e%2f", "%00", "$(touch x)", "`touch x`", "; rm -rf .", "--help", "-rf",
    "*", "?", "[a-z]", "\\*", "{a}", "{}", "^a", "canary:*", "canary:?", "canary:[1]", "canary*", "CANARY:1",
    "$where", "$gt", '{"$gt": ""}', "a.b", "a$b", "_id", "__proto__", "' || '1'=='1", '" || true || "', "' or 1=1 --",
    "redis.call('FLUSHALL')", "]] redis.call('FLUSHALL') --", "KEYS[1]", "EVAL", "%s%d%n", "{0}", "{session_id}",
    " ", "  canary:1", "canary:1 ", "canary:1.", "canary:1\u200b", "\u202e1:yranac", "\ufeffcanary:1", "ｃanary:1",
    "é", "e\u0301", "ß", "ẞ", "İ", "ı", "\u2028", "\U0010ffff", "\ud800", "\x00", "\n", "\x7f", "x" * 512, "é" * 256,
    "x" * 513, "",
]  # fmt: skip


def relatives(text):
    """Return ids that are equal after case folding, normalisation or escaping."""
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    return {text, text.upper(), text.lower(), text.casefold(), text.strip(), text + ".", text + " ", *forms} | {
        urllib.parse.quote(text.encode(errors="replace")),
        urllib.parse.unquote(text, errors="replace"),
    }


IDS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="./\\%$*?[]{}^~'\"; \x00\nabAB019:_-", max_size=30),
    st.sampled_from(MEANINGFUL),
    st.tuples(st.sampled_from(MEANINGFUL), st.text(max_size=8)).map("".join),
    st.text(alphabet="aé\U0001f600", min_size=120, max_size=520),
)


def examples(scale, short, long):
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=scale(short, long), deadline=None, suppress_health_check=checks, database=None)


@contextlib.contextmanager
def opened(backend):
    """Yield `Sessions`, and a function that runs a coroutine in their event loop."""
    with asyncio.Runner() as runner:
        sessions = runner.run(Sessions(backend).init())
        try:
            yield sessions, runner.run
        finally:
            runner.run(sessions.close())


def is_valid(session_id):
    try:
        check_session_id(session_id)
    except InvalidSessionIdError:
        return False
    return True


@pytest.fixture(params=backends.NAMES)
def backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


@pytest.fixture(params=backends.LASTING)
def lasting_backend(request, tmp_path):
    return {"driver": request.param, "stores": {request.param: backends.options(request.param, tmp_path)}}


async def listed(store, prefix=""):
    found, after = set(), None
    while True:
        page = await store.scan(prefix, after=after)
        assert page.unreadable == []
        found |= {info.id for info in page.sessions}
        after = page.next
        if after is None:
            return found


def test_ids(backend, scale, tmp_path):
    """Every id refers to exactly one session."""
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    known = {CANARY: "canary"}

    async def refused(sessions, wrong):
        store = sessions.store
        for operation in (
            lambda: sessions.read(wrong),
            lambda: sessions.destroy(wrong),
            lambda: sessions.update(wrong, lambda session: None),
            lambda: store.read(wrong),
            lambda: store.write(wrong, Session(wrong)),
            lambda: store.replace(wrong, Session(wrong), expected=None),
            lambda: store.touch(wrong, None),
            lambda: store.read_many([CANARY, wrong]),
            lambda: store.commit([Step.replace(Session(wrong), None)]),
            lambda: store.commit([Step.remove(CANARY), Step.remove(wrong)]),
        ):
            with pytest.raises(InvalidSessionIdError):
                await operation()

    async def used(sessions, session_id):
        store = sessions.store
        await sessions.update(session_id, lambda session: session.set_state({"me": session_id}))
        known[session_id] = session_id
        assert (await sessions.read(session_id)).state == {"me": session_id}
        for relative in relatives(session_id) - known.keys():
            if is_valid(relative):
                assert await store.read(relative) is None
                await store.destroy(relative)
        found = await store.read_many([CANARY, session_id])
        assert [each.state["me"] for each in found] == ["canary", session_id]
        assert await listed(store, session_id) == {each for each in known if each.startswith(session_id)}
        assert await store.touch(session_id, None)

    async def checked(sessions):
        assert await listed(sessions.store) == set(known)
        for session_id, me in known.items():
            assert (await sessions.read(session_id)).state == {"me": me}
        await sessions.store.commit([Step.remove(session_id) for session_id in known if session_id != CANARY])
        assert await listed(sessions.store) == {CANARY}

    with opened(backend) as (sessions, run):
        run(sessions.update(CANARY, lambda session: session.set_state({"me": "canary"})))

        @examples(scale, 60, 3000)
        @given(IDS)
        def try_ids(session_id):
            run(used(sessions, session_id) if is_valid(session_id) else refused(sessions, session_id))

        try_ids()
        run(checked(sessions))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "outside",
        *(["sessions"] * (backend["driver"] == "file")),
    ]
    assert outside.read_text() == "untouched"
    for path in (tmp_path / "sessions").rglob("*"):
        assert len(path.relative_to(tmp_path / "sessions").parts) <= 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(
        ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999+14:00", "2026-11-23T09:30:00", "\ud800", "$"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["version", "expires_at", "last_activity", "created_at", "id", "user", "state", "expires_in", "shape", "more"]
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), st.binary(max_size=8)), min_size=1, max_size=4)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(...), min_size=1, max_size=3)


def edited(raw, edits):
    for place, removed, added in edits:
        at = place % (len(raw) + 1)
        raw = raw[:at] + added + raw[at + removed :]
    return raw


def changed(record, changes):
    """Return a record with some fields changed, or removed where the value is `...`."""
    return {key: value for key, value in {**record, **changes}.items() if value is not ...}


def lines(raw):
    """Return a strategy for damaged lines of JSON and arbitrary bytes."""
    record = json.loads(raw)
    deep = st.integers(1, 3000).map(
        lambda depth: raw.replace(b'"state":{', b'"state":{"deep":' + b"[" * depth + b"]" * depth + b",")
    )
    return st.one_of(
        st.binary(max_size=200),
        EDITS.map(lambda edits: edited(raw, edits)),
        CHANGES.map(lambda changes: json.dumps(changed(record, changes)).encode()),
        CHANGES.map(lambda changes: json.dumps(changed(record, changes), indent=1).encode()),
        CHANGES.map(lambda changes: raw[:-1] + b"," + json.dumps(changed({}, changes)).encode()[1:]),
        deep,
    )


async def tolerated(sessions):
    """Try every operation on the stored data."""
    store = sessions.store
    found = None
    with contextlib.suppress(CorruptSessionError):
        found = await store.read(ID)
        if found is not None:
            assert found.id == ID
            assert found.version
            assert isinstance(found.state, dict)
            assert isinstance(found.expires_at, datetime | None)
    [same] = await store.read_many([ID])
    assert isinstance(same, CorruptSessionError) or (found and found.version) == (same and same.version)
    await store.scan()
    with contextlib.suppress(BotSessionError):
        await store.replace(ID, Session(ID), expected="another")
    [outcome] = await store.commit([Step.replace(Session(ID), "another")])
    assert isinstance(outcome, BotSessionError)
    with contextlib.suppress(BotSessionError):
        await store.touch(ID, None)
    # A repeated version conflicts with everything; the lifetime may be none; the format may be newer.
    with contextlib.suppress(BotSessionError):
        async with sessions.turn(ID) as session:
            session.set_state({"fuzzed": True})
        assert (await sessions.read(ID)).state["fuzzed"] is True
    if isinstance(store, SupportsQuarantine):
        with contextlib.suppress(StoreError):
            await store.quarantine(ID)
    await sessions.destroy(ID)
    assert await sessions.read(ID) is None


@pytest.mark.parametrize("lasting_backend", ["file", "redis"], indirect=True)
def test_stored_bytes(lasting_backend, scale):
    """Only a session is read as one; every operation on anything else raises one of our errors."""
    ((driver, options),) = lasting_backend["stores"].items()
    with opened(lasting_backend) as (sessions, run), stored(driver, options) as below:
        run(sessions.update(ID, lambda session: session.set_state({"a": [1, 2.5, "x"]})))

        @examples(scale, 150, 10_000)
        @given(lines(below.get(ID)))
        def try_bytes(raw):
            below.put(ID, raw)
            run(tolerated(sessions))

        try_bytes()


def test_stored_bytes_in_memory(scale):
    with asyncio.Runner() as runner:
        store = runner.run(MemorySessionStore().init())
        sessions = Sessions(store)
        runner.run(sessions.update(ID, lambda session: session.set_state({"a": [1, 2.5, "x"]})))
        stored, expires_at = store._records[ID]

        @examples(scale, 150, 10_000)
        @given(lines(stored))
        def try_bytes(raw):
            store._records[ID] = raw, expires_at
            runner.run(tolerated(sessions))

        try_bytes()


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.integers(-(2**42), 2**42).map(lambda number: EPOCH + timedelta(milliseconds=number)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet="ab$.é", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("lasting_backend", ["mongo"], indirect=True)
def test_stored_documents(lasting_backend, scale):
    """The same for documents; one that the server rejects could not have been stored."""
    ((driver, options),) = lasting_backend["stores"].items()
    changes = st.dictionaries(st.sampled_from([*FIELDS, "lease"]), BSON | st.just(...), min_size=1, max_size=3)
    with opened(lasting_backend) as (sessions, run), stored(driver, options) as below:
        run(sessions.update(ID, lambda session: session.set_state({"a": [1, 2.5, "x"]})))
        document = bson.decode(below.get(ID))

        @examples(scale, 150, 10_000)
        @given(changes)
        def try_document(changes):
            below.put(ID, bson.encode(changed(document, changes)))
            run(tolerated(sessions))

        try_document()
