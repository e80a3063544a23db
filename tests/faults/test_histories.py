"""The history checker finds every kind of planted violation, and none in a correct history."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from faults.histories import Destroy, Found, History, Read, Turn, violations
from hypothesis import given
from hypothesis import strategies as st

FATES = ("acknowledged", "acknowledged", "refused", "unknown", "unknown but stored")


def played(chance: random.Random, turns: int = 40, clients: int = 4, *, destroys: bool = False) -> History:
    """Play turns of several clients against a list; each takes effect between its start and its end."""
    history, tokens = History(), []
    free = [0.0] * clients
    now = 0.0
    for number in range(turns):
        now += chance.random()
        client = chance.randrange(clients)
        began = max(free[client], now - chance.random() * 3)
        now = max(now, began)
        free[client] = ended = now + chance.random() * 3
        if destroys and not chance.randrange(10):
            tokens.clear()
            history.destroys.append(Destroy(began, ended, "acknowledged"))
            continue
        turn = Turn(f"client{client}", f"token{number}", began, ended, "unknown", found(tokens))
        fate = chance.choice(FATES)
        if fate in ("acknowledged", "unknown but stored"):
            tokens.append(turn.token)
        if fate in ("acknowledged", "refused"):
            turn.fate = fate
        else:
            turn.ended = math.inf
        history.turns.append(turn)
        if not chance.randrange(4):
            history.reads.append(Read(now, found(tokens)))
    history.tokens, history.count = list(tokens), len(tokens)
    return history


def found(tokens: list[str]) -> Found:
    return Found.of({"tokens": tokens, "count": len(tokens)})


def kinds(history: History) -> set[str]:
    return {violation.partition(":")[0] for violation in violations(history)}


def one_after_the_other(count: int = 6) -> History:
    """Acknowledged turns of two clients, each followed by a read."""
    history = History(tokens=[f"token{number}" for number in range(count)], count=count)
    for number in range(count):
        before = list(history.tokens[:number])
        history.turns.append(
            Turn(f"client{number % 2}", f"token{number}", number, number + 0.5, "acknowledged", found(before))
        )
        history.reads.append(Read(number + 0.6, found([*before, f"token{number}"])))
    return history


def lost_update(history: History) -> None:
    """Two turns read the same state, and the second overwrote the first."""
    history.tokens.remove("token2")
    history.count -= 1


def lost_at_the_end(history: History) -> None:
    history.tokens.pop()
    history.count -= 1


def lost_although_only_read(history: History) -> None:
    history.turns[-1].fate = "unknown"
    lost_at_the_end(history)


def everything_lost(history: History) -> None:
    history.tokens, history.count = [], 0


def duplicated(history: History) -> None:
    history.tokens.append("token1")
    history.count += 1


def unknown_twice(history: History) -> None:
    history.turns[-1].fate, history.turns[-1].ended = "unknown", math.inf
    history.tokens.append(history.tokens[-1])
    history.count += 1


def phantom(history: History) -> None:
    history.tokens.append("token99")
    history.count += 1


def phantom_that_was_only_read(history: History) -> None:
    history.reads.append(Read(9, Found(7, "token99", 7)))


def refused_and_there(history: History) -> None:
    history.turns[3].fate = "refused"


def swapped(history: History) -> None:
    history.tokens[2], history.tokens[4] = history.tokens[4], history.tokens[2]


def swapped_and_nobody_looked(history: History) -> None:
    """Two turns in the wrong order, visible only in their timestamps."""
    swapped(history)
    history.reads.clear()
    for turn in history.turns:
        turn.found = None


def another_found(history: History) -> None:
    history.turns[3].found = Found(3, "token1", 3)


def counter_off(history: History) -> None:
    history.count += 1


def counter_off_in_a_read(history: History) -> None:
    history.reads[2].found = dataclasses.replace(history.reads[2].found, count=2)


def stale_read(history: History) -> None:
    history.reads.append(Read(9, Found(5, "token4", 5)))


def empty_read(history: History) -> None:
    """A failed read mistaken for a new session."""
    history.reads.append(Read(9, Found(0, None, 0)))


def stale_turn(history: History) -> None:
    history.turns.append(Turn("client0", "token9", 9, 9.5, "refused", Found(2, "token1", 2)))


def resurrected(history: History) -> None:
    history.destroys.append(Destroy(5.6, 5.9, "acknowledged"))


def resurrected_for_a_read(history: History) -> None:
    history.destroys.append(Destroy(5.7, 5.8, "acknowledged"))
    history.reads.append(Read(9, Found(6, "token5", 6)))
    everything_lost(history)


def lost_after_a_destroy(history: History) -> None:
    history.destroys.append(Destroy(0.6, 0.7, "acknowledged"))
    everything_lost(history)


PLANTED = {
    lost_update: "lost",
    lost_at_the_end: "lost",
    lost_although_only_read: "lost",
    everything_lost: "lost",
    duplicated: "duplicated",
    unknown_twice: "duplicated",
    phantom: "phantom",
    phantom_that_was_only_read: "phantom",
    refused_and_there: "contradicted",
    swapped: "reordered",
    swapped_and_nobody_looked: "reordered",
    another_found: "reordered",
    counter_off: "miscounted",
    counter_off_in_a_read: "miscounted",
    stale_read: "stale",
    empty_read: "stale",
    stale_turn: "stale",
    resurrected: "resurrected",
    resurrected_for_a_read: "resurrected",
    lost_after_a_destroy: "lost",
}


def test_nothing_is_found_where_nothing_is_wrong():
    assert violations(one_after_the_other()) == []
    assert violations(History()) == []


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_is_planted_is_found(plant):
    history = one_after_the_other()
    plant(history)
    assert PLANTED[plant] in kinds(history)


def test_what_is_unknown_may_be_there_or_not():
    history = one_after_the_other()
    history.turns[-1].fate, history.turns[-1].ended = "unknown", math.inf
    assert violations(history) == []
    lost_at_the_end(history)
    history.reads.pop()
    assert violations(history) == []


def test_a_destroy_may_take_what_was_there():
    history = one_after_the_other()
    history.destroys.append(Destroy(5.7, 5.8, "acknowledged"))
    everything_lost(history)
    assert violations(history) == []


@given(st.integers(), st.integers(0, 60), st.integers(1, 6), st.booleans())
def test_whatever_is_played_is_right(number, turns, clients, destroys):
    assert violations(played(random.Random(number), turns, clients, destroys=destroys)) == []


@given(st.integers(), st.sampled_from(["lose", "double", "invent", "miscount", "swap"]))
def test_whatever_is_damaged_is_found(number, damage):
    chance = random.Random(number)
    history = played(chance, turns=60)
    certain = [turn.token for turn in history.turns if turn.fate == "acknowledged"]
    if damage == "lose":
        history.tokens.remove(chance.choice(certain))
        history.count -= 1
    elif damage == "double":
        history.tokens.insert(chance.randrange(len(history.tokens)), chance.choice(certain))
        history.count += 1
    elif damage == "invent":
        history.tokens.insert(chance.randrange(len(history.tokens)), "token99")
        history.count += 1
    elif damage == "miscount":
        history.count += chance.choice([-1, 1])
    else:
        one, other = sorted(chance.sample(range(len(history.tokens)), 2))
        history.tokens[one], history.tokens[other] = history.tokens[other], history.tokens[one]
    expected = {"lose": "lost", "double": "duplicated", "invent": "phantom", "miscount": "miscounted"}
    assert expected.get(damage, "reordered") in kinds(history)
