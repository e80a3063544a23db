from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from botsession import CorruptSessionError, Session, records

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
    """However somebody has laid out the record by hand."""
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
