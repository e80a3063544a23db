"""The connection of one store: opened once, bounded in time, with errors that are ours."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from pymongo import WriteConcern
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, PyMongoError

from botsession import ConfigError, StoreError, StoreUnavailableError
from botsession.home import Home
from botsession_mongo import clients
from botsession_mongo.clients import Api
from botsession_mongo.errors import is_taken, translated

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession_mongo.clients import Client

T = TypeVar("T")

_GRACE: Final = 0.6
"""Seconds for the client to say that its time is up (it looks twice a second); then the call ends in any case."""


class Connection:
    """A client, its own or a given one, and the collection.

    Attributes:
        where: The server, without secrets, for messages.
        collection: The collection; `None` while not open.
        leases: The same, where one server's word is enough for a write: a lease that is lost loses no session.
    """

    def __init__(self, url: str | None, client: Client | None, name: str, api: Api, timeout: float) -> None:
        if client is not None and url is not None:
            raise ConfigError("give a MongoSessionStore either a url or a client, not both")
        if api not in ("motor", "pymongo"):
            raise ConfigError(f"api is 'motor' or 'pymongo'; got {api!r}")
        if not timeout > 0:
            raise ConfigError(f"timeout is a number of seconds above zero; got {timeout}")
        if not name or "$" in name or "\0" in name:
            raise ConfigError(f"collection_name is no name of a collection: {name!r}")
        limit = timeout
        if client is None:
            self._address = clients.parse(url or clients.DEFAULT_URL)
            self.where = f"MongoDB at {self._address.servers}"
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
        self._home = Home("the mongo store")
        self._opening = asyncio.Lock()
        self.collection: AsyncCollection[RawBSONDocument] | None = None
        self.leases: AsyncCollection[RawBSONDocument]

    def __str__(self) -> str:
        return f"{self._text}, collection_name={self._name!r}"

    async def open(self) -> None:
        """Connects, and makes the TTL index where there is none; may be called again, in another event loop as well."""
        inherited = self._home.is_inherited
        if inherited and self._given is not None:
            raise StoreError(
                "the mongo store was made with a client that the parent process uses. "
                "Make a client and a store of its own in this process"
            )
        if self._home.enter():
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
        """Closes the client, unless it was given or belongs to the parent process; may be called again."""
        if self._home.is_inherited or not self._home.is_entered:
            return
        await self._forget(ended=self._home.enter())
        if self.collection is None:
            self._home.leave()

    def check_open(self) -> AsyncCollection[RawBSONDocument]:
        """Refuses to work outside of `open` and `close`; returns the collection."""
        if self.collection is None:
            raise StoreError("the mongo store is not open. Call `await init()` first")
        self._home.check()
        return self.collection

    async def run(self, operation: Awaitable[T]) -> T:
        """Awaits the client within the time limit; its errors become ours, but for those that tell of a conflict."""
        try:
            async with asyncio.timeout(self._limit):
                return await operation
        except BulkWriteError:
            raise
        except ConfigurationError as error:
            raise self._misconfigured(error) from error
        except (PyMongoError, TimeoutError) as error:
            if isinstance(error, DuplicateKeyError) and is_taken(error.code, error.details):
                raise
            raise translated(error, self.where) from error

    async def _open(self) -> AsyncCollection[RawBSONDocument]:
        client = self._given
        if client is None:
            client = self._client = await self.run(clients.connect(self._address, self._api, self._timeout))
        self._home.opened = client
        collection = clients.collection(client, self._name)
        await self.run(clients.make_ttl_index(collection))
        self.leases = collection.with_options(write_concern=WriteConcern(w=1))
        return collection

    async def _forget(self, *, ended: bool) -> None:
        self.collection = None
        self._opening = asyncio.Lock()
        await self._close_client(ended=ended)

    async def _close_client(self, *, ended: bool = False) -> None:
        """Closes the client that was made here; PyMongo's does not let itself be closed once its event loop has ended."""
        client, self._client, self._home.opened = self._client, None, None
        if client is not None:
            with contextlib.suppress(*[RuntimeError] if ended else []):
                await clients.close(client)

    def _misconfigured(self, error: ConfigurationError) -> StoreUnavailableError | ConfigError:
        if self._given is None and self._address.by_dns:
            return StoreUnavailableError(f"{self.where} is not found in the DNS: {error}; is the name right?")
        return ConfigError(f"{self.where} cannot be used: {error}")
