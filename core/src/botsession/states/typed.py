"""Typed states: a stored JSON object converted to an instance of a type and back, so that every value comes back as it was."""

from __future__ import annotations

import copy
import inspect
import marshal
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
import msgspec.inspect

from botsession.errors import ConfigError, StateError
from botsession.states import json_values
from botsession.states.unknown_fields import carry

_ALLOWED: Final = "Use a msgspec.Struct, a dataclass, an attrs class or a TypedDict."
_OBJECTS: Final = (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType)
_FREE: Final = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
)

StateT = TypeVar("StateT")

_encode: Final = msgspec.json.Encoder().encode
_MISSING: Final = msgspec.UNSET


class TypedState(Generic[StateT]):
    """The type of `session.state`.

    Args:
        state_type: The type that was given to `Sessions`.

    Attributes:
        name: Its name, for errors.

    Raises:
        ConfigError: A JSON object cannot be converted to the type and back.
    """

    def __init__(self, state_type: type[StateT]) -> None:
        given: object = state_type
        self.name: str = given.__qualname__ if inspect.isclass(given) else repr(given)
        self._type = state_type
        try:
            info = msgspec.inspect.type_info(state_type)
        except Exception as error:
            reason = f"an annotation in it cannot be resolved: {error}" if isinstance(error, NameError) else str(error)
            raise ConfigError(f"state_type {self.name} cannot be used: {reason}", remedy=_ALLOWED) from error
        named: object = getattr(state_type, "__origin__", state_type)  # of a generic class, the class
        if not isinstance(info, _OBJECTS) or not inspect.isclass(named):
            raise ConfigError(
                f"state_type {self.name} cannot be used: its instances are not JSON objects", remedy=_ALLOWED
            )
        if getattr(info, "array_like", False):
            raise ConfigError(f"state_type {self.name} cannot be used: array_like makes it a JSON array, not an object")
        for path, foreign in _foreign(info, "", set()):
            raise ConfigError(
                f"state_type {self.name} cannot be used: {path.lstrip('.')} is {foreign}, which cannot be read from JSON",
                remedy="Use a type that msgspec supports.",
            )

    def default(self) -> StateT:
        """Return an instance whose fields have their defaults.

        Raises:
            ConfigError: A field has no default.
        """
        try:
            return self._type()
        except Exception as error:
            raise ConfigError(
                f"state_type {self.name} cannot be created without arguments ({error})", remedy="Give an initial_state."
            ) from error

    def read(self, state: dict[str, Any], root: str = "$.state") -> StateT:
        """Return a state as an instance of the type.

        Raises:
            StateError: The state does not fit the type; `path` names the field.
        """
        try:
            return msgspec.convert(state, self._type, str_keys=True)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `")
            raise StateError(root + where.rstrip("`").removeprefix("$"), f"{reason} (for {self.name})") from error

    carry: Final = staticmethod(carry)

    def encode(self, state: object, root: str = "$.state") -> bytes:
        """Return the JSON of an instance, without checking what would come back.

        Raises:
            StateError: Something in it cannot be encoded; `path` says where.
        """
        return _encoded(state, root)

    def write(self, state: object, root: str = "$.state") -> tuple[dict[str, Any], bytes]:
        """Return the JSON object of an instance, and its text.

        Raises:
            StateError: Something in it would not come back as it is; `path` says where.
        """
        encoded = _encoded(state, root)
        stored = json_values.decode(encoded, root)
        if type(stored) is not dict:
            raise StateError(root, f"{json_values.kind(state)} would not come back as {self.name}")
        try:
            back = self.read(stored, root)
        except StateError:
            _refuse_not_finite(state, root)
            raise
        _compare(state, back, root)
        return stored, encoded


def merge(state: StateT, changes: Mapping[str, Any]) -> StateT:
    """Merge changes into a state, shallowly, and return it. A mutable state is changed in place.

    Args:
        state: A JSON object, or an instance of a `state_type`.
        changes: New values by key, or by field. A JSON value is converted to the type of its field.

    Raises:
        StateError: The state is typed, and the changes do not fit; nothing was changed.
    """
    if isinstance(state, dict):
        state.update(changes)
        return state
    state_type: TypedState[StateT] = _of_instances(cast("Any", type(state)))
    fields = {field.name: field.encode_name for field in _fields(msgspec.inspect.type_info(type(state)))}
    for name in changes:
        if name not in fields:
            raise StateError(
                f"$.state.{name}",
                f"{state_type.name} has no such field",
                remedy=f"Use one of {', '.join(sorted(fields))}.",
            )
    encoded = {name: _encoded(value, f"$.state.{name}") for name, value in changes.items()}
    decoded = {fields[name]: json_values.decode(text, f"$.state.{name}") for name, text in encoded.items()}
    changed = state_type.read({**msgspec.json.decode(_encoded(state, "$.state")), **decoded})
    values = {name: getattr(changed, name) for name in changes}
    for name, value in changes.items():
        if isinstance(values[name], float) or not _is_json(value, encoded[name]):
            _compare(value, values[name], f"$.state.{name}")
    try:
        for name, value in values.items():
            setattr(state, name, value)
    except AttributeError:  # the type is frozen
        state = copy.copy(state)
        force = msgspec.structs.force_setattr if isinstance(state, msgspec.Struct) else object.__setattr__
        for name, value in values.items():
            force(state, name, value)  # type: ignore[arg-type]
    return state


@lru_cache(maxsize=64)
def _of_instances(state_type: type[Any]) -> TypedState[Any]:
    return TypedState(state_type)


def _is_json(value: object, encoded: bytes) -> bool:
    try:
        json_values.check(value, encoded)
    except StateError:
        return False
    return True


def _foreign(info: object, path: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yield the path and name of each type inside a type that cannot be read from JSON."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType | msgspec.inspect.ExtType | msgspec.inspect.RawType):
        yield path, getattr(getattr(info, "cls", type(info)), "__qualname__", "a custom type")
    elif isinstance(info, _FREE):
        for field in _fields(info):
            yield from _foreign(field.type, f"{path}.{field.name}", seen)
    elif isinstance(info, msgspec.inspect.Type):
        for name in info.__struct_fields__:
            inner = getattr(info, name)
            for each in inner if isinstance(inner, tuple) else (inner,):
                yield from _foreign(each, path, seen)


def _fields(info: object) -> tuple[msgspec.inspect.Field, ...]:
    return cast("tuple[msgspec.inspect.Field, ...]", getattr(info, "fields", ()))


def _encoded(value: object, path: str) -> bytes:
    """Encode a value of any type that msgspec supports; the error says where an unsupported one is."""
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        _refuse_unknown(value, path, 1)
        raise StateError(path, f"cannot be stored as JSON: {error}") from error


def _refuse_unknown(value: object, path: str, depth: int) -> None:
    """Raise a `StateError` for the first value inside another one that cannot be encoded."""
    if depth > json_values.MAX_DEPTH:
        raise StateError(path, f"nested deeper than {json_values.MAX_DEPTH} levels")
    for name, item in _children(value):
        try:
            _encode(item)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            _refuse_unknown(item, path + name, depth + 1)
            reason = "the text contains a lone surrogate" if isinstance(error, UnicodeEncodeError) else str(error)
            raise StateError(path + name, f"cannot be stored as JSON: {reason}") from error


def _refuse_not_finite(value: object, path: str) -> None:
    """Raise a `StateError` for the first number inside a value that does not exist in JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        raise StateError(path, f"the number {value!r} does not exist in JSON", remedy="Use None, or a str.")
    for name, item in _children(value):
        _refuse_not_finite(item, path + name)


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((json_values.place(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        yield from ((f".{name}", getattr(value, name, _MISSING)) for name in _names(value))


def _names(value: object) -> tuple[str, ...]:
    """Return the names of an object's fields."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return kind.__struct_fields__  # type: ignore[attr-defined,no-any-return]
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return tuple(attribute.name for attribute in attributes)
    return tuple(getattr(kind, "__dataclass_fields__", ()))


def _compare(value: object, back: object, path: str) -> None:
    """Refuse a value that came back from JSON as another value or another type.

    An `int` in a field of type `float` is accepted, as in Python.

    Raises:
        StateError: See above.
    """
    kind = type(value)
    if kind is not type(back):
        if kind is int and type(back) is float and value == back:
            return
        _refuse_not_finite(value, path)
        raise StateError(
            path,
            f"{json_values.kind(value)} would come back as {json_values.kind(back)}",
            remedy="Store it as that type.",
        )
    if kind is dict or kind is list:
        try:  # the fast way: both consist of the same built-in values
            if marshal.dumps(cast("Any", value), 2) == marshal.dumps(cast("Any", back), 2):
                return
        except ValueError:
            pass
    pairs = _pairs(value, back, path)
    if pairs is None and not _equals(value, back):
        raise StateError(
            path, f"{json_values.kind(value)} would come back as another value", remedy="Store it in another form."
        )
    for name, item, other in pairs or ():
        _compare(item, other, path + name)


def _equals(value: object, back: object) -> bool:
    try:
        return value == back
    except ArithmeticError:  # a signalling NaN equals nothing
        return False


def _pairs(value: Any, back: Any, path: str) -> Iterable[tuple[str, object, object]] | None:
    """Return the parts of two values of one type, pair by pair; `None` if they have no parts."""
    if isinstance(value, dict):
        _compare_members(value, back, path)
        return ((json_values.place(key), item, back[key]) for key, item in value.items())
    if isinstance(value, set | frozenset):
        _compare_members(value, back, path)
        return ()
    if not isinstance(value, list | tuple):
        names = _names(value)
        for name in getattr(value, "__dict__", {}).keys() - names - getattr(back, "__dict__", {}).keys():
            # Attributes of the class, such as a cached property, and those of Python itself are not fields.
            if names and not hasattr(type(value), name) and not name.startswith("__"):
                raise StateError(
                    f"{path}.{name}", f"{type(value).__name__} has no such field, so it would not be stored"
                )
        if not names:
            return None
    elif len(value) != len(back):
        raise StateError(path, "it would come back with another length")
    return ((name, item, other) for (name, item), (_, other) in zip(_children(value), _children(back), strict=True))


def _compare_members(value: Any, back: Any, path: str) -> None:
    """Compare the keys of two mappings, or the members of two sets."""
    members = {member: member for member in back}
    for member in value:
        if member not in members:
            raise StateError(
                path + json_values.place(member), "it would not come back, because the type does not have it"
            )
        _compare(member, members[member], f"{path} ({member!r})")
    if len(members) != len(value):
        raise StateError(path, "more members would come back than are there")
