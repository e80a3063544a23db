"""Every error survives a process pool, a task queue and a copy."""

import copy
import importlib
import inspect
import pickle
import pkgutil

import pytest

import botsession
import botsession_console
import botsession_file
import botsession_memory
import botsession_mongo
import botsession_operations
import botsession_redis
from botsession import (
    BotSessionError,
    ConfigError,
    CorruptSessionError,
    SessionConflictError,
    StateError,
    StoreError,
    TurnTimeoutError,
)

PACKAGES = (
    botsession,
    botsession_console,
    botsession_file,
    botsession_memory,
    botsession_mongo,
    botsession_operations,
    botsession_redis,
)
VALUES = {"str": "telegram:42", "str | None": "telegram:42", "bytes": b"\xff", "float": 1.5, "int": 3}


def kinds(root=BotSessionError):
    for package in PACKAGES if root is BotSessionError else ():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".testing" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    yield root
    for kind in root.__subclasses__():
        if kind.__module__.startswith("botsession"):
            yield from kinds(kind)


def example(kind):
    """Return an error of a class, with all required arguments and, if the class accepts one, a remedy."""
    parameters = list(inspect.signature(kind).parameters.values())
    positional = [
        VALUES[each.annotation]
        for each in parameters
        if each.kind is each.POSITIONAL_OR_KEYWORD and (each.default is each.empty or each.name == "message")
    ]
    named = {
        each.name: VALUES[each.annotation]
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and (each.default is each.empty or each.name == "remedy")
    }
    return kind(*positional, **named)


@pytest.mark.parametrize(
    "travel",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize("kind", list(dict.fromkeys(kinds())), ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_it_was(kind, travel):
    error = example(kind)
    error.add_note("seen on a Monday")
    back = travel(error)
    assert type(back) is kind
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_attributes_come_back():
    conflict = pickle.loads(pickle.dumps(SessionConflictError("telegram:42", "somebody was faster")))
    assert (conflict.session_id, str(conflict)) == ("telegram:42", "somebody was faster")
    corrupt = pickle.loads(
        pickle.dumps(CorruptSessionError("telegram:42", store="here", raw=b"\xff", reason="it is no JSON"))
    )
    assert (corrupt.session_id, corrupt.store, corrupt.raw) == ("telegram:42", "here", b"\xff")
    state = copy.deepcopy(StateError("$.state.cart[0]", "a set is no JSON value"))
    assert (state.path, str(state)) == ("$.state.cart[0]", "$.state.cart[0]: a set is no JSON value")


def test_a_remedy_is_an_attribute_and_a_sentence_of_the_text():
    error = pickle.loads(pickle.dumps(TurnTimeoutError("telegram:42", "it took too long", remedy="Wait longer.")))
    assert (error.message, error.remedy) == ("it took too long", "Wait longer.")
    assert str(error) == "it took too long. Wait longer."
    assert str(ConfigError("is it set?", remedy="Set it.")) == "is it set? Set it."
    assert (str(StoreError("it broke")), StoreError("it broke").remedy) == ("it broke", "")
