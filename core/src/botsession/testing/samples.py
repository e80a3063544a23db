"""States, ids and prefixes that are hard for stores, and exact comparison."""

from __future__ import annotations

import datetime as dt
import math
import os
import random
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from botsession.ids import MAX_BYTES
from botsession.states.json_values import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER


def exact(value: object) -> str:
    """Return a text that is equal only for equal JSON values, including types, -0.0 and the order of keys."""
    if type(value) is dict:
        return "{" + ", ".join(f"{exact(key)}: {exact(item)}" for key, item in value.items()) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(exact, value)) + "]"
    if value is None or type(value) in (str, int, float, bool):
        return repr(value)
    return f"<{type(value).__name__} {value!r}>"


def nested(levels: int) -> dict[str, Any]:
    """Return a state with so many levels, objects and arrays in turn."""
    value: Any = {} if levels % 2 else []
    for level in range(levels - 1, 0, -1):
        value = {"in": value} if level % 2 else [value]
    return {"in": value} if not isinstance(value, dict) else value


AWKWARD_STATES: Final[list[dict[str, Any]]] = [
    {},
    {"": "an empty key", "a": {"": {"": None}}},
    {"one": 1, "one point zero": 1.0, "true": True, "zero": 0, "minus zero": -0.0, "false": False, "null": None},
    {"z": 1, "a": 2, "m": {"y": 1, "b": 2}, "10": 3, "9": 4},
    {"a.b": 1, "a": {"b": 2}, ".": 3, "..": 4, "a..b": 5, "trailing.": 6},
    {"$set": {"a": 1}, "$where": "1", "$": 2, "a$b": 3, "$ref": "c", "nested": {"$gt": ""}},
    {"link": {"$ref": "collection", "$id": "1"}, "oid": {"$oid": "5f0c1a2b3c4d5e6f7a8b9c0d"}, "date": {"$date": 0}},
    {"nul\x00key": "nul\x00value", "\x00": "\x00", "control": "\x01\x1f\x7f\x80\x9f"},
    {"lines": "a\nb\r\nc\u2028d\u2029e\x85f", "tab": "\t", "quotes": "\"'`", "backslash": "\\", "percent": "%s %d {}"},
    {"emoji": "\U0001f600\U0001f469\u200d\U0001f680", "\U0001f511": "key", "bom": "\ufeff", "last": "\U0010ffff\uffff"},
    {"nfc": "\u00e9", "nfd": "e\u0301", "\u00e9": 1, "e\u0301": 2, "rtl": "\u202eabc"},
    {"greatest": MAX_INTEGER, "least": MIN_INTEGER, "beyond double": 2**53 + 1, "beyond 32 bits": 2**31},
    {"greatest": 1.7976931348623157e308, "least": 5e-324, "tenth": 0.1, "as int": 1e22, "third": 1 / 3, "big": 1e16},
    {"empty": [[], {}, "", [[]], [{}]], "mixed": [1, 1.0, "1", True, None, {"a": [1]}]},
    {"looks like a date": "2026-11-23T09:30:00.000Z", "looks like a number": "1.0", "looks like null": "null"},
    {"_id": 1, "id": "other", "version": "0", "state": {"state": {}}, "user": 1, "expires_at": None, "created_at": 0},
    {"__class__": "x", "__proto__": {"a": 1}, "constructor": None, "py/object": "os.system"},
    nested(MAX_DEPTH),
]
"""States that must come back as they were stored."""

_surrogate = "\ud800"


def random_text(length: int) -> str:
    """Return an incompressible text, the same at every call, of characters of one to four bytes."""
    chance = random.Random(length)  # noqa: S311 - it keeps no secret
    ranges = ((0x20, 0x7E), (0xA1, 0x7FF), (0x800, 0xD7FF), (0x1F300, 0x1F9FF))
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(length))


ALIKE: Final[list[str]] = [
    "a", "A", "a ", " a", "a\t", "a\x00", "a\u200b", "\u00e9", "e\u0301", "e", "\u00c5", "\u212b", "\u00df", "ss", "1", "01", "1.0",
    "\ufb01", "fi", "\uff21", "", " ", "\u00a0", "\ufeff", "%", "_", "\\", "\\\\", "\\x41", "\\u0041", "&amp;", "&", "null", "NULL",
]  # fmt: skip
"""Texts that a collation, a normalization or an escaping confuses."""

REFUSED_STATES: Final[list[tuple[dict[str, Any], str]]] = [
    ({"cart": [{"price": math.nan}]}, "$.state.cart[0].price"),
    ({"a": math.inf}, "$.state.a"),
    ({"a": [1, -math.inf]}, "$.state.a[1]"),
    ({"a": MAX_INTEGER + 1}, "$.state.a"),
    ({"a": {"b": MIN_INTEGER - 1}}, "$.state.a.b"),
    ({"a": 10**400}, "$.state.a"),
    ({"a": (1, 2)}, "$.state.a"),
    ({"a": {1, 2}}, "$.state.a"),
    ({"a": b"bytes"}, "$.state.a"),
    ({"a": dt.datetime(2026, 11, 23, tzinfo=dt.UTC)}, "$.state.a"),
    ({"a": object()}, "$.state.a"),
    ({"a": {1: "the key is not a text"}}, "$.state.a"),
    ({"a": f"lone {_surrogate}"}, "$.state.a"),
]
"""States that JSON cannot hold, each with the path of the wrong value."""

_leaves = (
    st.none()
    | st.booleans()
    | st.integers(MIN_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
_keys = st.text(max_size=8) | st.sampled_from(["", "$set", "a.b", "_id", "0", "\x00", "$ref"])

json_objects: Final[st.SearchStrategy[dict[str, Any]]] = st.dictionaries(
    _keys,
    st.recursive(
        _leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)
"""Any state."""

HOSTILE_IDS: Final[list[Any]] = [
    "",
    "nul\x00byte",
    "line\nfeed",
    "\r",
    "tab\t",
    "escape\x1b[2J",
    "delete\x7f",
    "c1\x85",
    "x" * (MAX_BYTES + 1),
    "\U0001f600" * (MAX_BYTES // 4) + "x",
    f"lone {_surrogate}",
    None,
    42,
    b"bytes",
    ["list"],
    {"$ne": None},
]
"""Invalid session ids."""

SAFE_IDS: Final[list[str]] = [
    "telegram:42", "x", "a", "A", "aa", "a:", "a:b", "a/b", "/", "//", "/etc/passwd", ".", "..", "../..",
    "../../etc/passwd", "..\\..\\x", "a/../b", "~", "~root", "-rf", "--", "a b", " ", " a", "a ", "a.", "a..",
    "a.json", ".a", ".tmp", "%", "%2e", "%2e%2e", "%2F", "%00", "%s", "%d", "{}", "{0}", "{a}b", "{a}", "*", "a*", "?",
    "[a-z]", "[", "]", "^a", ".*", "a|b", "(", "\\", "\\x", "a\\", "'", '"', "`", "';--", "' OR '1'='1", "$where",
    "$ne", "$", "#", "&", "=", "+", "a+b", ",", ";", "!", "@", "<a>", "CON", "con", "NUL", "COM1", "aux.txt", "LPT1",
    "\u00e9", "e\u0301", "\u00c9", "\u212a", "K", "k", "\u0131", "\u00df", "ss", "\ufb01", "fi", "\U0001f600",
    "\u00c5", "\u212b", "\uac00", "\u1100\u1161", "\uff21", "\u2460", "1", "\u03c3", "\u03c2", "\u0130", "i\u0307", "ab",
    "a\u200bb", "a\u00adb", "a-b", "a_b", "a\u0301", "a\u0300",
    "\u202eabc", "\u200b", "\ufeffa", "\u2028", "\u00a0", "\u3042", "None", "null", "0", "00", "-1", "1e3", "true",
    "x" * MAX_BYTES, "x" * (MAX_BYTES - 1), "y" * 255, "y" * 256, "\U0001f600" * (MAX_BYTES // 4),
]  # fmt: skip
"""Ids that look dangerous or alike. Each is a session of its own."""

SCANNED_PREFIXES: Final[list[str]] = [
    "a", "a:", "a:b", "ab", "A", "*", "a*", "?", "a?", "[", "[a-z]", "[^a]", "^", "^a", ".", ".*", "a.", "$", "%", "a%",
    "_", "a_", "\\", "\\a", "a\\", "(", "a|b", "+", "{", "'", '"', "/", "a/", "..", "\u00e9", "e\u0301", "e",
    "\U0001f600", "\U0010ffff", "a\U0010ffff", "\uffff", " ", "x" * MAX_BYTES,
]  # fmt: skip
"""Prefixes that some backend takes for a pattern, or that are prefixes of each other."""

NO_VERSIONS: Final[list[str]] = [
    "", "0" * 16, "null", "*", ".*", '"', "'", "\\", "$ne", "\x00", '{"$gt":""}', "\U0001f600", "[a-f0-9]*", "%",
]  # fmt: skip
"""Texts that are not the version of any session."""


def moderate(examples: int, **more: Any) -> settings:
    """Return the settings of a generated test; with the same examples in every run if `CI` is set."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )
