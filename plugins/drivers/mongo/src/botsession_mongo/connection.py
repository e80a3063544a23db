"""The connection of one store: opened once, each call bounded in time, the client's errors translated."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pymongo import WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)
from pymongo.read_concern import ReadConcern

from botsession import ConfigError, StoreError, StoreUnavailableError
from botsession.storage.binding import LoopBinding
from botsession.turns.batching import hidden_task
from botsession_mongo import clients
from botsession_mongo.attempts import Attempts
from botsession_mongo.clients import Api
from botsession_mongo.clock import ServerClock
from botsession_mongo.errors import is_taken, is_write_conflict, translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bson.raw_bson import RawBSONDocument
    from pymongo import DeleteOne, UpdateOne
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession_mongo.clients import Client

    Collection = AsyncCollection[RawBSONDocument]
    Operation = UpdateOne | DeleteOne

P = ParamSpec("P")
T = TypeVar("T")

_GRACE: Final = 0.6
"""Seconds in which the client may report its own timeout, as it looks twice a second; then the call ends in any case."""


class Sent:
    """What the server replied to many changes.

    Attributes:
        found: How many documents they changed, inserted or removed.
        failures: What went wrong, by index; `None` if another document has the `_id`.
    """

    def __init__(self) -> None:
        self.found = 0
        self.failures: dict[int, StoreError | None] = {}


class Connection:
    """A client, its own or one that was handed in, and the collection.

    Attributes:
        where: The server, without secrets, for messages.
        collection: The collection; `None` while the connection is not open.
        leases: The same collection, with writes that wait for one server only, since a lost lease loses no session, and with
            reads of what the primary has now, whatever the URL says about reads.
        clock: The server's clock.
    """

    def __init__(self, url: str | None, client: Client | None, name: str, api: Api, timeout: float) -> None:
        if client is not None and url is not None:
            raise ConfigError("a MongoSessionStore takes either a url or a client, not both")
        if api not in ("motor", "pymongo"):
            raise ConfigError(f"api must be 'motor' or 'pymongo'; got {api!r}")
        if not timeout > 0:
            raise ConfigError(f"timeout must be a number of seconds above zero; got {timeout}")
        if not name or "$" in name or "\0" in name:
            raise ConfigError(f"collection_name is not the name of a collection: {name!r}")
        limit = timeout
        if client is None:
            self._address = clients.parse(url or clients.DEFAULT_URL)
            self.where: str = f"MongoDB at {self._address.servers}"
            self._text = f"'mongodb://{self._address.servers}', database={self._address.database!r}"
            limit = self._address.options.get("timeoutMS", timeout)
        else:
            clients.check(client)
            self.where = "MongoDB"
            self._text = "client=..."
        self._given = client
        self._client: Client | None = None
        self._name = name
        self._api = api
        self._timeout = timeout
        self._limit = limit + _GRACE if limit else None
        self._binding = LoopBinding("the mongo store")
        self._opening = asyncio.Lock()
        self.collection: Collection | None = None
        self.leases: Collection
        self.clock: ServerClock

    def __str__(self) -> str:
        return f"{self._text}, collection_name={self._name!r}"

    async def open(self) -> None:
        """Connect, and create the TTL index unless it exists; may be called again, also in another event loop."""
        inherited = self._binding.is_inherited
        if inherited and self._given is not None:
            raise StoreError(
                "the mongo store was made with a client that the parent process uses",
                remedy="Make a client and a store in this process.",
            )
        if self._binding.enter():
            if inherited:
                self._client = None
            await self._forget(ended=True)
        async with self._opening:
            if self.collection is None:
                try:
                    self.collection = await self._open()
                except BaseException:
                    await self._close_client()
                    raise

    async def close(self) -> None:
        """Close the client, unless it was handed in or belongs to the parent process; may be called again."""
        if self._binding.is_inherited or not self._binding.is_entered:
            return
        await self._forget(ended=self._binding.enter())
        if self.collection is None:
            self._binding.leave()

    def check_open(self) -> Collection:
        """Return the collection; raise a `StoreError` unless the connection is open in this event loop."""
        if self.collection is None:
            raise StoreError("the mongo store is not open", remedy="Call `await init()` first.")
        self._binding.check()
        return self.collection

    async def run(self, operation: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the client within the time limit, and again if the call met another write and had no effect.

        A caller that is cancelled learns of it when the client has finished. So nothing is carried out after that, and the
        connection can be used again: PyMongo closes it, and sometimes swallows the cancellation; Motor goes on in its thread.

        Raises:
            DuplicateKeyError: Another document has the `_id`.
            BulkWriteError: Some of many changes failed.
            StoreError: Anything else that went wrong.
        """
        call = hidden_task(asyncio.get_running_loop(), self._within_limit(operation, *args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            if not call.cancelled():
                call.exception()  # nobody is told
            raise

    async def _within_limit(self, operation: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        conflict: Exception | None = None
        attempts = self.attempts()
        try:
            async with asyncio.timeout(self._limit):
                while True:
                    try:
                        return await operation(*args, **kwargs)
                    except OperationFailure as error:
                        if not is_write_conflict(error) or attempts.are_over():
                            raise
                        conflict = error
                    await attempts.pause()
        except BulkWriteError:
            raise
        except ConfigurationError as error:
            raise self._misconfigured(error) from error
        except (PyMongoError, TimeoutError) as error:
            if isinstance(error, DuplicateKeyError) and is_taken(error.code, error.details):
                raise
            cause = conflict if conflict is not None and isinstance(error, TimeoutError) else error
            raise translated(cause, self.where) from cause

    async def send(self, collection: Collection, operations: Sequence[Operation]) -> Sent:
        """Send many changes in one call, and those again that met another write and had no effect."""
        sent = Sent()
        attempts = self.attempts()
        waiting = list(range(len(operations)))
        while waiting:
            chosen, waiting = waiting, []
            try:
                result = await self.run(collection.bulk_write, [operations[each] for each in chosen], ordered=False)
                sent.found += result.matched_count + result.deleted_count + result.upserted_count
            except BulkWriteError as error:
                details = error.details
                for doubt in details["writeConcernErrors"]:
                    unconfirmed = WriteConcernError(doubt.get("errmsg", "unconfirmed"), doubt.get("code"), doubt)
                    raise translated(unconfirmed, self.where) from error
                sent.found += details["nMatched"] + details["nRemoved"] + details["nUpserted"]
                for failure in details["writeErrors"]:
                    cause = WriteError(failure["errmsg"], failure["code"], failure)
                    index = chosen[failure["index"]]
                    if is_write_conflict(cause) and not attempts.are_over():
                        waiting.append(index)
                    elif is_taken(failure["code"], failure):
                        sent.failures[index] = None
                    else:
                        failed = sent.failures[index] = translated(cause, self.where)
                        failed.__cause__ = error
            if waiting:
                await attempts.pause()
        return sent

    def attempts(self) -> Attempts:
        """Return the attempts at a change that other writers may prevent, within the time limit."""
        return Attempts(self.where, self._limit)

    async def _open(self) -> Collection:
        client = self._given
        if client is None:
            client = self._client = await self.run(clients.connect, self._address, self._api, self._timeout)
        self._binding.opened = client
        collection = clients.collection(client, self._name)
        await self.run(clients.make_ttl_index, collection)
        self.leases = collection.with_options(write_concern=WriteConcern(w=1), read_concern=ReadConcern("local"))
        self.clock = ServerClock(partial(self.run, collection.database.command, "hello"))
        return collection

    async def _forget(self, *, ended: bool) -> None:
        self.collection = None
        self._opening = asyncio.Lock()
        await self._close_client(ended=ended)

    async def _close_client(self, *, ended: bool = False) -> None:
        """Close the client that was made here. PyMongo's cannot be closed once its event loop has ended."""
        client, self._client, self._binding.opened = self._client, None, None
        if client is not None:
            with contextlib.suppress(*[RuntimeError] if ended else []):
                await asyncio.shield(clients.close(client))  # nobody would close a client that is half closed

    def _misconfigured(self, error: ConfigurationError) -> StoreUnavailableError | ConfigError:
        if self._given is None and self._address.by_dns:
            return StoreUnavailableError(
                f"{self.where} is not found in the DNS: {error}", remedy="Check the name in the URL."
            )
        return ConfigError(f"{self.where} cannot be used: {error}")
