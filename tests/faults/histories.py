"""Histories of turns, and what is wrong with them.

Every turn appends a token of its own to the list `tokens` of its session and adds one to `count`. Since a turn reads before
it writes, the list is the order of the turns, and what each turn found must be the list up to its own token. So whatever
clients did at the same time, and whatever failed meanwhile, one look at the list in the end tells whether a turn was lost.

Moments come from the monotonic clock, which is the same in all processes of a machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["acknowledged", "refused", "unknown"]
"""Acknowledged: it took place. Refused: it did not. Unknown: it took place once or not at all."""


@dataclass(frozen=True, slots=True)
class Found:
    """What somebody found in a session: how many tokens, the last of them, and the counter."""

    length: int
    last: str | None
    count: int

    @classmethod
    def of(cls, state: dict[str, Any]) -> Found:
        tokens = state["tokens"]
        return cls(len(tokens), tokens[-1] if tokens else None, state["count"])


@dataclass
class Turn:
    """One turn as its client saw it; `ended` is never where it was not answered."""

    client: str
    token: str
    began: float
    ended: float = math.inf
    fate: Fate = "unknown"
    found: Found | None = None


@dataclass
class Read:
    """One look at the session from outside of a turn."""

    began: float
    found: Found


@dataclass
class Destroy:
    """One removal of the session."""

    began: float
    ended: float = math.inf
    fate: Fate = "unknown"


@dataclass
class History:
    """What happened to one session, in no particular order, and what is stored in the end."""

    turns: list[Turn] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    destroys: list[Destroy] = field(default_factory=list)
    tokens: Sequence[str] = ()
    count: int = 0


def violations(history: History) -> list[str]:
    """Return all violations, each starting with its kind."""
    return list(_Checker(history).all())


class _Checker:
    def __init__(self, history: History) -> None:
        self._history = history
        self._tokens = history.tokens
        self._place = {token: place for place, token in enumerate(history.tokens)}
        self._by_token = {turn.token: turn for turn in history.turns}

    def all(self) -> Iterator[str]:
        yield from self._counters()
        yield from self._stored()
        yield from self._lost()
        yield from self._what_turns_found()
        yield from self._order()
        yield from self._stale()
        yield from self._resurrected()

    def _counters(self) -> Iterator[str]:
        seen = Found(len(self._tokens), None, self._history.count)
        for found in [seen, *(found for _, found in self._looks())]:
            if found.count != found.length:
                yield f"miscounted: {found.length} tokens, and the counter says {found.count}"

    def _stored(self) -> Iterator[str]:
        for token, times in Counter(self._tokens).items():
            if times > 1:
                yield f"duplicated: {token} is there {times} times"
            if token not in self._by_token:
                yield f"phantom: nobody sent {token}"
            elif self._by_token[token].fate == "refused":
                yield f"contradicted: {token} was refused, and is there"
        for _, found in self._looks():
            if found.last is not None and found.last not in self._by_token:
                yield f"phantom: nobody sent {found.last}, which was read"

    def _lost(self) -> Iterator[str]:
        for turn in self._history.turns:
            if turn.fate == "acknowledged" and turn.token not in self._place and not self._may_be_destroyed(turn):
                yield f"lost: {turn.token} was acknowledged"
        if not self._history.destroys:
            for _, found in self._looks():
                if found.last in self._by_token and found.last not in self._place:
                    yield f"lost: {found.last} was read"

    def _may_be_destroyed(self, turn: Turn) -> bool:
        return any(destroy.fate != "refused" and destroy.ended >= turn.began for destroy in self._history.destroys)

    def _what_turns_found(self) -> Iterator[str]:
        """A turn that took place stands right behind what it found; whatever else was read is the list up to there."""
        for turn in self._history.turns:
            place = self._place.get(turn.token)
            if place is not None and turn.found is not None:
                before = self._tokens[place - 1] if place else None
                if (turn.found.length, turn.found.last) != (place, before):
                    yield f"reordered: {turn.token} found {turn.found}, and stands at {place} behind {before}"
        for read in self._history.reads:
            place = None if read.found.last is None else self._place.get(read.found.last)
            if place is not None and place + 1 != read.found.length:
                yield f"reordered: {read.found} was read, and its last token stands at {place}"

    def _order(self) -> Iterator[str]:
        """Who began after another was acknowledged stands behind it, for one client and for all together."""
        turns = [self._by_token[token] for token in self._tokens if token in self._by_token]
        soonest: Turn | None = None
        for turn in reversed(turns):
            if soonest is not None and soonest.ended < turn.began:
                clients = f"of {turn.client} " if soonest.client == turn.client else ""
                yield f"reordered: {turn.token} {clients}began after {soonest.token} had ended, and stands before it"
            if turn.fate == "acknowledged" and (soonest is None or turn.ended < soonest.ended):
                soonest = turn

    def _stale(self) -> Iterator[str]:
        """Whoever began to read after a turn was acknowledged sees it."""
        if self._history.destroys:
            return
        acknowledged = sorted(
            (turn.ended, self._place[turn.token])
            for turn in self._history.turns
            if turn.fate == "acknowledged" and turn.token in self._place
        )
        furthest, index = -1, 0
        for began, found in sorted(self._looks(), key=lambda look: look[0]):
            while index < len(acknowledged) and acknowledged[index][0] < began:
                furthest = max(furthest, acknowledged[index][1])
                index += 1
            if found.length <= furthest:
                yield f"stale: {found} was read after {self._tokens[furthest]} at {furthest} had been acknowledged"

    def _resurrected(self) -> Iterator[str]:
        """What was there before an acknowledged removal is not there after it."""
        for destroy in self._history.destroys:
            if destroy.fate != "acknowledged":
                continue
            before = {turn.token for turn in self._history.turns if turn.ended < destroy.began}
            for token in before.intersection(self._tokens):
                yield f"resurrected: {token} is there although the session was destroyed after it"
            for began, found in self._looks():
                if began > destroy.ended and found.last in before:
                    yield f"resurrected: {found.last} was read although the session had been destroyed after it"

    def _looks(self) -> Iterator[tuple[float, Found]]:
        for turn in self._history.turns:
            if turn.found is not None:
                yield turn.began, turn.found
        for read in self._history.reads:
            yield read.began, read.found
