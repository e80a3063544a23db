"""A batch whose entries lie in many shards, on which several threads work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from botsession_file.locks import Call

EntryT = TypeVar("EntryT")
OutcomeT = TypeVar("OutcomeT")

Job = Callable[[str, Sequence[EntryT], Call], list[OutcomeT]]
"""What to do with the entries of one shard; it returns the outcome of each."""


class ShardedBatch(Generic[EntryT, OutcomeT]):
    """The entries of a batch by shard. Each thread takes one shard after the other until none is left.

    Args:
        job: What to do with the entries of one shard.
        entries: The entries.
        shards: The shard of each.

    Attributes:
        call: The call on whose behalf the threads work.
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
        """The number of shards that no thread has taken yet."""
        return len(self._rest)

    def work(self) -> None:
        """Take one shard after the other until none is left."""
        while self._rest:
            try:
                shard, indices = self._rest.popleft()
            except IndexError:  # another thread was faster
                return
            outcomes = self._job(shard, [self._entries[index] for index in indices], self.call)
            self._outcomes.update(zip(indices, outcomes, strict=True))

    def finish(self, helpers: Sequence[Future[None]]) -> list[OutcomeT]:
        """Work until all is done; return the outcomes in the order of the entries.

        Args:
            helpers: Other calls of `work`. Those that have not begun by the end are cancelled, the others are waited for.
        """
        try:
            self.work()
        finally:
            begun = [helper for helper in helpers if not helper.cancel()]
            errors = [helper.exception() for helper in begun]
        for error in filter(None, errors):
            raise error
        return [self._outcomes[index] for index in range(len(self._entries))]
