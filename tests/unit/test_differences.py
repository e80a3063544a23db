"""The differences between two states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botsession.testing.samples import json_objects
from botsession_operations import ABSENT, Difference, differences


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 2}, [Difference("$.a", 1, 2)]),
        ({"a": 1}, {"a": 1.0}, [Difference("$.a", 1, 1.0)]),
        ({"a": 1}, {"a": True}, [Difference("$.a", 1, True)]),
        ({"a": None}, {}, [Difference("$.a", None, ABSENT)]),
        ({}, {"a b": []}, [Difference('$["a b"]', ABSENT, [])]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [Difference("$.a.b[1]", 2, 3)]),
        ({"a": [1, 2, 3]}, {"a": [2, 3, 4]}, [Difference("$.a[0]", 1, ABSENT), Difference("$.a[2]", ABSENT, 4)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [Difference("$.a[0].b", 1, 2)]),
        ({"a": [1]}, {"a": {"b": 1}}, [Difference("$.a", [1], {"b": 1})]),
    ],
)
def test_differences(before, after, wanted):
    assert list(differences(before, after)) == wanted


@given(json_objects, json_objects)
def test_what_is_the_same_does_not_differ_and_what_differs_is_told(before, after):
    assert list(differences(before, before)) == []
    same = repr(sorted_keys(before)) == repr(sorted_keys(after))
    assert bool(list(differences(before, after))) != same


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_arrays(before, after):
    found = list(differences(before, after))
    gone = sum(each.after is ABSENT for each in found)
    new = sum(each.before is ABSENT for each in found)
    assert len(before) - gone + new == len(after)


def sorted_keys(value):
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value
