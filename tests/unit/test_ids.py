"""The rule for session ids."""

import pytest

from botsession import InvalidSessionIdError
from botsession.ids import check_session_id


@pytest.mark.parametrize(
    "session_id",
    [
        "telegram:42",
        "a",
        "x" * 512,
        "é" * 256,
        "🎉",
        "../../etc/passwd",
        "a/b\\c",
        "*?[x]",
        " ",
        "$where",
        "a b",
        "\u00a0",
    ],
)
def test_allowed(session_id):
    check_session_id(session_id)


@pytest.mark.parametrize(
    ("session_id", "reason"),
    [
        ("", "must not be empty"),
        ("x" * 513, "513 bytes"),
        ("é" * 257, "514 bytes"),
        ("x" * 10_000, "10000 bytes"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x7f", "control character"),
        ("a\x85", "control character"),
        ("\ud800", "lone surrogate"),
        (42, "not int"),
        (b"telegram:42", "not bytes"),
        (None, "not NoneType"),
    ],
)
def test_refused(session_id, reason):
    with pytest.raises(InvalidSessionIdError, match=reason):
        check_session_id(session_id)
