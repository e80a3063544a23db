"""JSON values: encoded and decoded so that every value comes back as it was.

A state is stored as JSON by every driver. Encoders are lenient: a tuple becomes a list, NaN becomes null, an enumeration its
value. `encode` refuses whatever would come back as another value or another type, and says where it is.
"""

from __future__ import annotations

import enum
import marshal
import math
from functools import cache
from itertools import chain
from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec

from botsession.errors import StateError

MAX_DEPTH: Final = 64
"""How deep a state may be nested: far below the 100 levels at which MongoDB refuses a document."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

_DECODER_LEVELS: Final = (4, 8)
"""The depths for which msgspec checks the limits while it decodes. The time to build such a decoder doubles with every level."""


def encode(value: object, path: str = "$.state") -> bytes:
    """Encode a JSON value, or refuse it if it would not come back the same.

    Args:
        value: Objects, arrays, strings, numbers, true, false and null.
        path: The place of the value in the session, for the error.

    Returns:
        Compact JSON in UTF-8, with keys in their order.

    Raises:
        StateError: The value contains something that is not JSON, an integer outside 64 bits, NaN, an infinity, a lone surrogate
            or more than 64 levels; its `path` says where.
    """
    try:
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        _refuse(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    check(value, encoded, path)
    return encoded


def encode_user(user: object) -> bytes:
    """Encode what a bot knows about a person: a JSON object or `None`.

    Raises:
        StateError: It is something else, or `encode` refuses it.
    """
    check_user(user)
    return encode(user, "$.user")


def check_user(user: object) -> None:
    """Refuse a `user` that could not be read again.

    Raises:
        StateError: It is neither a JSON object nor `None`.
    """
    if user is not None and type(user) is not dict:
        raise StateError("$.user", f"a user is a JSON object or None, not {kind(user)}")


def check(value: Any, encoded: bytes, path: str = "$.state") -> None:
    """Refuse a value that would not come back the same from its JSON.

    Args:
        value: The value.
        encoded: Its JSON, as `msgspec.json` encodes it.
        path: The place of the value in the session, for the error.

    Raises:
        StateError: See `encode`.
    """
    try:
        try:
            decoded = _limited_decoder(_DECODER_LEVELS[0]).decode(encoded)
        except msgspec.ValidationError:
            decoded = decode(encoded, path)
        # A subclass may equal what comes back instead of it, but marshal accepts only the built-in types.
        if decoded == value and marshal.dumps(value):
            return
    except StateError:
        raise
    except ValueError as error:
        _refuse(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    _refuse(value, path, 1)
    raise StateError(path, "it would not come back from JSON as it is")


def decode(encoded: bytes, path: str = "$.state") -> Any:
    """Decode a JSON text.

    Raises:
        StateError: It contains an integer outside 64 bits or more than 64 levels; its `path` says where.
    """
    for levels in _DECODER_LEVELS:
        try:
            return _limited_decoder(levels).decode(encoded)
        except msgspec.ValidationError:
            continue  # deeper than that, or beyond a limit
    value = _decoder.decode(encoded)
    if not _is_within_limits(value):
        _refuse(value, path, 1)
    return value


@cache
def _limited_decoder(levels: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder of JSON values that are nested no deeper than that, with integers of 64 bits."""
    leaf: Any = Annotated[int, msgspec.Meta(ge=MIN_INTEGER, le=MAX_INTEGER)] | float | str | bool | None
    value = leaf
    for _ in range(levels):
        value = leaf | GenericAlias(list, value) | GenericAlias(dict, (str, value))
    return msgspec.json.Decoder(value)


def _is_within_limits(value: object) -> bool:
    """Return whether a decoded JSON value is nested no deeper, and contains no larger integer, than allowed."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        types = set(map(type, level))
        if int in types and not all(MIN_INTEGER <= each <= MAX_INTEGER for each in level if type(each) is int):
            return False
        if dict not in types and list not in types:
            return True
        lists = [each for each in level if type(each) is list]
        objects = [each.values() for each in level if type(each) is dict]
        level = [*chain.from_iterable(lists), *chain.from_iterable(objects)]
    return False


def _refuse(value: object, path: str, depth: int) -> None:
    """Raise a `StateError` for the first value that JSON cannot hold."""
    if depth > MAX_DEPTH:
        raise StateError(path, f"nested deeper than {MAX_DEPTH} levels")
    if type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str):
                raise StateError(path, f"the key {key!r} is {kind(key)}, but keys in JSON are str")
            _refuse_leaf(key, f"{path} (key {key!r})")
            _refuse(item, path + place(key), depth + 1)
    elif type(value) is list:
        for index, item in enumerate(value):
            _refuse(item, f"{path}[{index}]", depth + 1)
    else:
        _refuse_leaf(value, path)


def _refuse_leaf(value: object, path: str) -> None:
    if value is None or type(value) is bool:
        return
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise StateError(path, "the text contains a lone surrogate, which is not a character") from error
    elif type(value) is int:
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise StateError(path, "the integer does not fit into 64 bits", remedy="Store it as a str.")
    elif type(value) is float:
        if not math.isfinite(value):
            raise StateError(path, f"the number {value!r} does not exist in JSON", remedy="Use None, or a str.")
    else:
        raise StateError(path, f"{kind(value)} is not a JSON value", remedy=_remedy(value))


def _remedy(value: object) -> str:
    if isinstance(value, enum.Enum):
        return "Store its value."
    for base in (dict, list, str, int, float):
        if isinstance(value, base):
            return f"It would come back as a plain {base.__name__}, so store one."
    if isinstance(value, tuple | set | frozenset):
        return "Store a list."
    return "Use an object, array, string, number, true, false or null, or give the state a state_type."


def kind(value: object) -> str:
    """Return what a value is, for an error."""
    return f"a value of type {type(value).__name__}"


def place(key: object) -> str:
    """Return the part of a path that leads to a key of an object."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def to_json(state: object, path: str = "$.state") -> dict[str, Any]:
    """Return the state of a session as a store takes it, which is a JSON object.

    Raises:
        StateError: It is something else.
    """
    if type(state) is dict:
        return state
    raise StateError(path, f"a state is a JSON object, not {kind(state)}")
