"""Work in many subdirectories, which threads share: each takes the next one, until none is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from botsession_file.locking import Call

EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

Job = Callable[[str, Sequence[EntryT], Call], list[OutcomeT]]


class Shares(Generic[EntryT, OutcomeT]):
    """Many entries, each of which lies in a subdirectory.

    Args:
        job: Called with a subdirectory and the entries that lie there; returns an outcome for each.
        entries: What to do.
        shards: The subdirectory of each.

    Attributes:
        call: On whose behalf.
    """

    def __init__(self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str]) -> None:
        self.call = Call()
        self._job = job
        self._entries = entries
        self._outcomes: dict[int, OutcomeT] = {}
        by_shard: dict[str, list[int]] = {}
        for index, shard in enumerate(shards):
            by_shard.setdefault(shard, []).append(index)
        self._rest = deque(by_shard.items())

    def __len__(self) -> int:
        """In how many subdirectories there is something left to do."""
        return len(self._rest)

    def work(self) -> None:
        """Takes one subdirectory after the other, until none is left."""
        while self._rest:
            try:
                shard, indices = self._rest.popleft()
            except IndexError:  # another thread was faster
                return
            outcomes = self._job(shard, [self._entries[index] for index in indices], self.call)
            self._outcomes.update(zip(indices, outcomes, strict=True))

    def finish(self, helpers: Sequence[Future[None]]) -> list[OutcomeT]:
        """Works, and waits for the threads that do the same; those that have not begun need not.

        Returns:
            The outcomes, in the order of the entries.
        """
        try:
            self.work()
        finally:
            begun = [helper for helper in helpers if not helper.cancel()]
            errors = [helper.exception() for helper in begun]
        for error in filter(None, errors):
            raise error
        return [self._outcomes[index] for index in range(len(self._entries))]
