"""A batch whose entries lie in many shards, on which several threads work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
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
        call: The call on whose behalf the threads work.
    """

    def __init__(
        self, job: Job[EntryT, OutcomeT], entries: Sequence[EntryT], shards: Sequence[str], call: Call
    ) -> None:
        self._job = job
        self._entries = entries
        self._call = call
        self._outcomes: dict[int, OutcomeT] = {}
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        by_shard: dict[str, list[int]] = {}
        for index, shard in enumerate(shards):
            by_shard.setdefault(shard, []).append(index)
        self._rest = deque(by_shard.items())
        self._unfinished = len(by_shard)

    def __len__(self) -> int:
        """The number of shards that no thread has taken yet."""
        return len(self._rest)

    def work(self) -> None:
        """Take one shard after the other until none is left."""
        while True:
            with self._lock:
                if not self._rest:
                    return
                shard, indices = self._rest.popleft()
            try:
                outcomes = self._job(shard, [self._entries[index] for index in indices], self._call)
            except BaseException as error:  # noqa: BLE001 - `finish` raises it
                self._errors.append(error)
            else:
                self._outcomes.update(zip(indices, outcomes, strict=True))
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self._over.set()

    def finish(self) -> list[OutcomeT]:
        """Work, wait for the other threads, and return the outcomes in the order of the entries."""
        self.work()
        self._over.wait()
        if self._errors:
            raise self._errors[0]
        return [self._outcomes[index] for index in range(len(self._entries))]
