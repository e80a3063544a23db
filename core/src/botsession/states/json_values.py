"""State: what JSON can hold, checked without bending anything.

A state is stored as JSON, whatever the driver, and must come back as it went in. Encoders are lenient (a tuple becomes
a list, NaN becomes null, an enumeration its value), so `encode` refuses whatever would come back as something else, or as
another type, and says where it is.
"""

from __future__ import annotations

import enum
import marshal
import math
from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec

from botsession.errors import StateError

MAX_DEPTH: Final = 64
"""How deep a state may nest: far below the 100 levels at which MongoDB refuses a document."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

_LIMITED = (dict, list, int)

_SHALLOW: Final = 5
"""How deep a value may nest for its limits to be checked while it is decoded; the type doubles with every level."""


def _within_limits(levels: int) -> Any:
    """Returns the type of a JSON value that nests no deeper than that."""
    leaf: Any = Annotated[int, msgspec.Meta(ge=MIN_INTEGER, le=MAX_INTEGER)] | float | str | bool | None
    if not levels:
        return leaf
    inner: Any = _within_limits(levels - 1)
    return leaf | GenericAlias(list, inner) | GenericAlias(dict, (str, inner))


_shallow = msgspec.json.Decoder(_within_limits(_SHALLOW))


def encode(value: object, path: str = "$.state") -> bytes:
    """Encodes a JSON value, and refuses what would not come back the same.

    Args:
        value: Objects, arrays, strings, numbers, true, false and null.
        path: Where the value stands in the session, for the error.

    Returns:
        Compact JSON in UTF-8, keys in their order.

    Raises:
        StateError: Something in it is no JSON value, an integer outside 64 bits, NaN or infinite, a lone surrogate,
            or nested deeper than 64 levels; `path` says where.
    """
    try:
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        _find(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    check(value, encoded, path)
    return encoded


def encode_user(user: object) -> bytes:
    """Encodes what a bot knows of a person: a JSON object, or `None`.

    Raises:
        StateError: It is something else, or holds what `encode` refuses.
    """
    check_user(user)
    return encode(user, "$.user")


def check_user(user: object) -> None:
    """Refuses a `user` that could not be read again as one.

    Raises:
        StateError: It is neither a JSON object nor `None`.
    """
    if user is not None and type(user) is not dict:
        raise StateError("$.user", f"a user is a JSON object or None, not {kind(user)}")


def check(value: Any, encoded: bytes, path: str = "$.state") -> None:
    """Refuses what would not come back the same from the JSON that msgspec made of it.

    Args:
        value: What was encoded.
        encoded: Its JSON, as `msgspec.json` encodes it.
        path: Where the value stands in the session, for the error.

    Raises:
        StateError: As `encode` raises it.
    """
    try:
        # A subclass may equal what comes back in its place; marshal takes the built-in types only, and no subclass.
        if decode(encoded, path) == value and marshal.dumps(value):
            return
    except StateError:
        raise
    except ValueError as error:
        _find(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    _find(value, path, 1)
    raise StateError(path, "it would not come back from JSON as it is")


def decode(encoded: bytes, path: str = "$.state") -> Any:
    """Returns the value of a JSON text.

    Raises:
        StateError: An integer outside 64 bits, or nested deeper than 64 levels; `path` says where.
    """
    try:
        return _shallow.decode(encoded)
    except msgspec.ValidationError:
        value = _decoder.decode(encoded)
        if not _is_within_limits(value):
            _find(value, path, 1)
        return value


def _is_within_limits(value: object, depth: int = 1) -> bool:
    """Tells whether a JSON value nests no deeper, and holds no larger integer, than is allowed."""
    if not isinstance(value, dict | list):
        return not isinstance(value, int) or MIN_INTEGER <= value <= MAX_INTEGER
    if depth > MAX_DEPTH:
        return False
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, _LIMITED) and not _is_within_limits(item, depth + 1):
            return False
    return True


def _find(value: object, path: str, depth: int) -> None:
    """Raises `StateError` for the first value that JSON cannot hold."""
    if depth > MAX_DEPTH:
        raise StateError(path, f"nested deeper than {MAX_DEPTH} levels")
    if type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str):
                raise StateError(path, f"the key {key!r} is {kind(key)}; keys in JSON are str")
            _check_leaf(key, f"{path} (key {key!r})")
            _find(item, path + place(key), depth + 1)
    elif type(value) is list:
        for index, item in enumerate(value):
            _find(item, f"{path}[{index}]", depth + 1)
    else:
        _check_leaf(value, path)


def _check_leaf(value: object, path: str) -> None:
    if value is None or type(value) is bool:
        return
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise StateError(path, "the text holds a lone surrogate, which is no character") from error
    elif type(value) is int:
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise StateError(path, "the integer does not fit into 64 bits; store it as a str")
    elif type(value) is float:
        if not math.isfinite(value):
            raise StateError(path, f"the number {value!r} does not exist in JSON; use None, or a str")
    else:
        raise StateError(path, f"{kind(value)} is no JSON value; {_advice(value)}")


def _advice(value: object) -> str:
    if isinstance(value, enum.Enum):
        return "store its value"
    for base in (dict, list, str, int, float):
        if isinstance(value, base):
            return f"it would come back as a plain {base.__name__}; store one"
    if isinstance(value, tuple | set | frozenset):
        return "store a list"
    return "use an object, array, string, number, true, false or null, or give the state a state_type"


def kind(value: object) -> str:
    """Returns what a value is, for an error."""
    return f"a value of type {type(value).__name__}"


def place(key: object) -> str:
    """Returns the part of a path that leads to a key of an object."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def to_json(state: object, path: str = "$.state") -> dict[str, Any]:
    """Returns the state of a session as a store takes it, a JSON object.

    Raises:
        StateError: It is something else.
    """
    if type(state) is dict:
        return state
    raise StateError(path, f"a state is a JSON object, not {kind(state)}")
