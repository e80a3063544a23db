from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from botsession import CorruptSessionError, Session, StateError
from botsession.storage import records

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
STATE = {"n": 1, "expires_at": "x", 'q":1,"created_at":': [1.0, 2**63 - 1, '","last_activity":"', "\u00e9"]}


def line():
    session = Session("telegram:42", STATE, {"name": "Ann"}, expires_in=10, version="9f86d081884c7d65", shape=2)
    session.created_at = session.last_activity = session.expires_at = NOW
    return records.encode(session)


def as_stored(raw):
    return raw


def with_blanks(raw):
    return json.dumps(json.loads(raw)).encode()


def sorted_by_key(raw):
    return json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode()


def on_many_lines(raw):
    return json.dumps(json.loads(raw), indent=2, ensure_ascii=False).encode() + b"\n"


def with_another_field(raw):
    return b'{"note":"mine",' + raw[1:]


def without_a_deadline(raw):
    return json.dumps({**json.loads(raw), "expires_at": None}).encode()


@pytest.mark.parametrize("expires_at", [NOW + timedelta(hours=1), None])
@pytest.mark.parametrize(
    "layout", [as_stored, with_blanks, sorted_by_key, on_many_lines, with_another_field, without_a_deadline]
)
def test_renewing_keeps_everything_else(layout, expires_at):
    """This holds for any layout that a person has given the record by hand."""
    raw = layout(line())
    later = NOW + timedelta(minutes=5)
    before = records.decode(raw, "telegram:42", store="here")
    renewed = records.renew(raw, expires_at=expires_at, last_activity=later)
    after = records.decode(renewed, "telegram:42", store="here")
    before.expires_at, before.last_activity = expires_at, later
    assert repr(after) == repr(before)
    assert json.loads(renewed).keys() == json.loads(raw).keys()
    assert records.renew(renewed, expires_at=None, last_activity=NOW)


@pytest.mark.parametrize("field", ["created_at", "last_activity", "expires_at"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_is_none_in_utc_is_unreadable(field, moment):
    raw = json.dumps({**json.loads(line()), field: moment}).encode()
    with pytest.raises(CorruptSessionError, match="in UTC"):
        records.decode(raw, "telegram:42", store="here")
    with pytest.raises(CorruptSessionError, match="in UTC"):
        records.decode_info(raw, "telegram:42", store="here")


def restored(**changes):
    session = Session("telegram:42", {"n": 1}, None, NOW, NOW, NOW, version="9f86d081884c7d65")
    for name, value in changes.items():
        setattr(session, name, value)
    return session


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("version", value) for value in ("", 'a"b', "a\\b", "a\nb", "a b", "\u00e9", "\0", "a" * 129, 7, None, b"a")),
        *((name, value) for name in ("created_at", "last_activity") for value in (None, 0, "2026-01-01T00:00:00Z")),
        *((name, NOW.replace(tzinfo=None)) for name in ("created_at", "last_activity", "expires_at")),
        ("created_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        ("expires_at", datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))),
        *(("expires_in", value) for value in (0, -1, math.nan, math.inf, True, "10", timedelta(minutes=1), 1e10)),
        *(("shape", value) for value in (-1, True, 1.5, None, 2**63)),
    ],
    ids=repr,
)
def test_what_no_driver_could_read_again_is_not_restored(name, value):
    with pytest.raises(StateError) as caught:
        records.check_restored(restored(**{name: value}))
    assert caught.value.path == f"$.{name}"


@pytest.mark.parametrize("version", ["a", "!", "~", "copy:9f86d081884c7d65", "W/'1'", "a" * 128])
def test_other_versions_are_restored_and_can_be_found(version):
    session = restored(version=version, created_at=NOW.astimezone(timezone(timedelta(hours=9))), expires_in=1.5)
    records.check_restored(session)
    raw = records.encode(session)
    assert records.decode(raw, "telegram:42", store="here") == session
    assert records.has_version(raw, version)


@pytest.mark.parametrize("layout", [as_stored, with_blanks, sorted_by_key, on_many_lines, with_another_field])
def test_the_version_is_found_however_somebody_has_laid_out_the_record(layout):
    raw = layout(line())
    found = records.decode(raw, "telegram:42", store="here")
    assert records.has_version(raw, found.version)
    assert records.is_untouched(raw, found)
    assert not records.has_version(raw, "another")
    found.last_activity += timedelta(milliseconds=1)
    assert not records.is_untouched(raw, found)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 5000, b'{"version":7}'])
def test_what_is_no_record_has_no_version(raw):
    assert not records.has_version(raw, "a")
    assert not records.is_untouched(raw, restored())


def test_a_shape_below_zero_is_unreadable():
    raw = line().replace(b'"shape":2', b'"shape":-2')
    with pytest.raises(CorruptSessionError, match="shape"):
        records.decode(raw, "telegram:42", store="here")
