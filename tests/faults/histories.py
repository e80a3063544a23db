"""Histories of turns, and a checker that finds violations in them.

Every turn appends a unique token to the list `tokens` of its session and increments `count`. Since a turn reads before
it writes, the list gives the order of the turns, and each turn must have found the list up to its own token. The final
list therefore shows whether a turn was lost, whatever clients did concurrently and whatever failed while they ran.

Times come from the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["acknowledged", "refused", "unknown"]
"""Acknowledged: the turn was applied. Refused: it was not. Unknown: it was applied at most once."""


@dataclass(frozen=True, slots=True)
class Found:
    """The content of a session as read: the number of tokens, the last token, and the counter."""

    length: int
    last: str | None
    count: int

    @classmethod
    def of(cls, state: dict[str, Any]) -> Found:
        tokens = state["tokens"]
        return cls(len(tokens), tokens[-1] if tokens else None, state["count"])


@dataclass
class Turn:
    """A turn as its client saw it; `ended` is infinite if no reply came."""

    client: str
    token: str
    began: float
    ended: float = math.inf
    fate: Fate = "unknown"
    found: Found | None = None


@dataclass
class Read:
    """A read of the session outside a turn."""

    began: float
    found: Found


@dataclass
class Destroy:
    """A removal of the session."""

    began: float
    ended: float = math.inf
    fate: Fate = "unknown"


@dataclass
class History:
    """The operations on one session, in no particular order, and its final stored content."""

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
        """Check that each applied turn directly follows what it found, and that every read saw a prefix of the list."""
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
        """Check that a turn started after another was acknowledged follows it, per client and across clients."""
        turns = [self._by_token[token] for token in self._tokens if token in self._by_token]
        soonest: Turn | None = None
        for turn in reversed(turns):
            if soonest is not None and soonest.ended < turn.began:
                clients = f"of {turn.client} " if soonest.client == turn.client else ""
                yield f"reordered: {turn.token} {clients}began after {soonest.token} had ended, and stands before it"
            if turn.fate == "acknowledged" and (soonest is None or turn.ended < soonest.ended):
                soonest = turn

    def _stale(self) -> Iterator[str]:
        """Check that a read started after a turn was acknowledged sees that turn."""
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
        """Check that nothing from before an acknowledged removal reappears after it."""
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
