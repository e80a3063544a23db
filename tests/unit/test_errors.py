"""Every error travels: through a process pool, a task queue, a copy."""

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
import botsession_redis
from botsession import (
    BotSessionError,
    CorruptSessionError,
    SessionConflictError,
    StateError,
)

PACKAGES = (botsession, botsession_console, botsession_file, botsession_memory, botsession_mongo, botsession_redis)
VALUES = {"str": "telegram:42", "bytes": b"\xff", "float": 1.5, "int": 3}


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
    """Returns an error of that kind, with every argument that its constructor asks for."""
    if kind.__init__ in (Exception.__init__, ValueError.__init__):
        return kind("what happened; what to do")
    parameters = list(inspect.signature(kind).parameters.values())
    positional = [
        VALUES[each.annotation]
        for each in parameters
        if each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty
    ]
    named = {
        each.name: VALUES[each.annotation]
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty
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
