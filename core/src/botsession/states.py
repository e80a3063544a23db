"""State: what JSON can hold, checked without bending anything.

A state is stored as JSON, whatever the driver, and must come back as it went in. Encoders are lenient (a tuple becomes
a list, NaN becomes null, a date becomes text), so `encode` refuses whatever would come back as something else, and says
where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import msgspec.inspect

from botsession.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

MAX_DEPTH: Final = 64
"""How deep a state may nest: far below the 100 levels at which MongoDB refuses a document."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_AS_LONG_AS_MAX_INTEGER = b"0" * 19
_LIMITED = (dict, list, int)


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
    if user is not None and not isinstance(user, dict):
        raise StateError("$.user", f"a user is a JSON object or None, not {_kind(user)}")


def check(value: object, encoded: bytes, path: str = "$.state") -> None:
    """Refuses what would not come back the same from the JSON that msgspec made of it.

    Args:
        value: What was encoded.
        encoded: Its JSON, as `msgspec.json` encodes it.
        path: Where the value stands in the session, for the error.

    Raises:
        StateError: As `encode` raises it.
    """
    try:
        if _decoder.decode(encoded) == value and (
            (encoded.count(b"[") + encoded.count(b"{") <= MAX_DEPTH and not _may_hold_large_integer(encoded))
            or _is_within_limits(value)
        ):
            return
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        _find(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    _find(value, path, 1)


def _may_hold_large_integer(encoded: bytes) -> bool:
    """Tells whether 19 digits stand in a row, as in the largest integer; looks first at every sixth byte, three of which are digits then."""
    return b"000" in encoded[::6].translate(_DIGITS_AS_ZERO) and _AS_LONG_AS_MAX_INTEGER in encoded.translate(
        _DIGITS_AS_ZERO
    )


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
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise StateError(path, f"the key {key!r} is {_kind(key)}; keys in JSON are str")
            _check_leaf(key, f"{path} (key {key!r})")
            _find(item, f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find(item, f"{path}[{index}]", depth + 1)
    else:
        _check_leaf(value, path)


def _check_leaf(value: object, path: str) -> None:
    if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise StateError(path, "the integer does not fit into 64 bits; store it as a str")
    try:
        same = bool(_decoder.decode(_encoder.encode(value)) == value)
    except UnicodeEncodeError as error:
        raise StateError(path, "the text holds a lone surrogate, which is no character") from error
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise StateError(path, f"{_kind(value)} is no JSON value") from error
    if not same:
        reason = (
            f"the number {value!r} does not exist in JSON"
            if isinstance(value, float)
            else f"{_kind(value)} is no JSON value"
        )
        raise StateError(path, f"{reason}; use an object, array, string, number, true, false or null")


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def to_json(state: object, path: str = "$.state") -> dict[str, Any]:
    """Returns the JSON object of a state, typed or not.

    Args:
        state: A JSON object, or an instance of a `state_type`.
        path: What it is, for the error.

    Raises:
        StateError: The state is, or turns into, something else than a JSON object.
    """
    if type(state) is dict:
        return state
    try:
        built = msgspec.to_builtins(state)
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(path, f"cannot be stored as JSON: {error}") from error
    if not isinstance(built, dict):
        raise StateError(path, f"a state is a JSON object, not {_kind(state)}")
    return built


def from_json(state: dict[str, Any], state_type: type[T] | None) -> T:
    """Returns the state as the bot wants it: the object itself, or an instance of `state_type`.

    Raises:
        StateError: The state does not fit the type; `path` names the field.
    """
    if state_type is None:
        return cast("T", state)
    try:
        return msgspec.convert(state, state_type)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `")
        raise StateError(
            "$.state" + where.rstrip("`").removeprefix("$"), f"{reason} (for {state_type.__name__})"
        ) from error


def merge(state: T, changes: Mapping[str, Any]) -> T:
    """Returns the state with the changes in it, shallowly; a state that is a `dict` is changed in place.

    Raises:
        StateError: The state is typed, and the changes do not fit.
    """
    if isinstance(state, dict):
        state.update(changes)
        return state
    fields = {field.name: field.encode_name for field in _fields(type(state))}
    for name in changes:
        if name not in fields:
            raise StateError(
                f"$.state.{name}", f"{type(state).__name__} has no such field; it has {', '.join(sorted(fields))}"
            )
    changed = {fields[name]: msgspec.to_builtins(value) for name, value in changes.items()}
    return from_json({**to_json(state), **changed}, type(state))


def _fields(state_type: type) -> Sequence[msgspec.inspect.Field]:
    info = msgspec.inspect.type_info(state_type)
    return cast("Sequence[msgspec.inspect.Field]", getattr(info, "fields", ()))
