"""The two clients, Motor's and PyMongo's own: what a URL says, and how each is made and closed."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from botsession import ConfigError, StoreError
from botsession_mongo import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.raw_bson import RawBSONDocument
    from motor.motor_asyncio import AsyncIOMotorClient
    from pymongo.asynchronous.collection import AsyncCollection

    Client = AsyncIOMotorClient[Any] | AsyncMongoClient[Any]

Api = Literal["motor", "pymongo"]

DEFAULT_URL = "mongodb://localhost:27017/"
DEFAULT_DATABASE = "botsession"
TTL_INDEX = "botsession_expiry"

_INVALID: Final = "the url of the MongoSessionStore is not a valid MongoDB URL"
_ESCAPE: Final = "In user and password, percent-encode the characters : / ? # [ ] @ %. Check the options after the ?."
_UNACKNOWLEDGED: Final = "the server would not report whether a session was stored"


class Address(NamedTuple):
    """What a URL says.

    Attributes:
        url: The URL itself, with its secrets.
        servers: The servers, without secrets.
        database: The database it names, or the default one.
        options: Its options.
    """

    url: str
    servers: str
    database: str
    options: dict[str, Any]

    @property
    def by_dns(self) -> bool:
        """Whether the servers are looked up in the DNS."""
        return self.url.startswith("mongodb+srv://")


def parse(url: str) -> Address:
    """Return what a URL says, without using the network.

    Raises:
        ConfigError: It is not a MongoDB URL. The message repeats nothing that may be a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("mongodb", "mongodb+srv", "mongo"):
        raise ConfigError("the url of a MongoSessionStore begins with mongodb:// or mongodb+srv://")
    if re.search(r"[/?#].*@", rest, re.DOTALL):
        raise ConfigError(_INVALID, remedy=_ESCAPE)
    try:
        parsed = parse_uri(f"mongodb://{rest}", warn=False)
    except (PyMongoError, ValueError) as error:
        if "@" in rest:
            raise ConfigError(_INVALID, remedy=_ESCAPE) from None
        names = ", ".join(re.findall(r"[?&;]([^=&;]*)", rest))
        named = f" (its options: {names})" if names else ""
        raise ConfigError(f"{_INVALID}: {error}{named}") from error
    options = dict(parsed["options"])
    if options.get("w") == 0:
        raise ConfigError(f"w=0 in the url: {_UNACKNOWLEDGED}", remedy="Remove it.")
    servers = ",".join(host if port is None else f"{host}:{port}" for host, port in parsed["nodelist"])
    if scheme == "mongodb+srv":
        servers = servers.removesuffix(":27017")
    scheme = scheme if scheme == "mongodb+srv" else "mongodb"
    return Address(f"{scheme}://{rest}", servers, parsed["database"] or DEFAULT_DATABASE, options)


def check(client: object) -> None:
    """Refuse what is not an asynchronous client.

    Raises:
        ConfigError: It is neither Motor's `AsyncIOMotorClient` nor PyMongo's `AsyncMongoClient`.
    """
    motor = sys.modules.get("motor.motor_asyncio")
    if not isinstance(client, AsyncMongoClient) and not (motor and isinstance(client, motor.AsyncIOMotorClient)):
        raise ConfigError(
            "client must be Motor's AsyncIOMotorClient or PyMongo's AsyncMongoClient; "
            f"got {type(client).__module__}.{type(client).__qualname__}"
        )


async def connect(address: Address, api: Api, seconds: float) -> Client:
    """Return a client for the running event loop, which connects at its first use and gives up after some seconds."""
    # timeoutMS does not bound the server selection of `close`, which ends the sessions there.
    limits = dict.fromkeys(("timeoutMS", "connectTimeoutMS", "serverSelectionTimeoutMS"), seconds * 1000)
    given = {name.lower() for name in address.options}
    options: dict[str, Any] = {name: value for name, value in limits.items() if name.lower() not in given}
    if api == "pymongo":
        return AsyncMongoClient(address.url, **options)
    from motor.motor_asyncio import AsyncIOMotorClient

    options["io_loop"] = asyncio.get_running_loop()
    if address.by_dns:
        return await asyncio.to_thread(AsyncIOMotorClient, address.url, **options)
    return AsyncIOMotorClient(address.url, **options)


async def close(client: Client) -> None:
    """Close a client. Motor's blocks while it closes."""
    if isinstance(client, AsyncMongoClient):
        await client.close()
    else:
        await asyncio.to_thread(client.close)


def collection(client: Client, name: str) -> AsyncCollection[RawBSONDocument]:
    """Return the collection, read from the primary and written to a majority unless the client says otherwise.

    Motor's has the same methods, whose results are awaited in the same way.

    Raises:
        ConfigError: The client does not wait for the server to acknowledge a write.
    """
    database = client.get_default_database(DEFAULT_DATABASE)
    concern = database.write_concern
    if not concern.acknowledged:
        raise ConfigError(f"w=0 in the client: {_UNACKNOWLEDGED}", remedy="Remove it.")
    if "w" not in concern.document:
        concern = WriteConcern(w="majority", **concern.document)
    found = database.get_collection(
        name, codec_options=documents.ENVELOPE, read_preference=ReadPreference.PRIMARY, write_concern=concern
    )
    return cast("AsyncCollection[RawBSONDocument]", found)


async def make_ttl_index(collection: AsyncCollection[RawBSONDocument]) -> None:
    """Create the index by which the server removes expired documents of ours, unless one exists.

    Raises:
        StoreError: There is another index on `expires_at`.
    """
    index: Mapping[str, Any]
    obstacle = f"another index on expires_at of the collection {collection.name!r} stands in the way"
    remedy = "Drop it, or choose another collection_name."
    for name, index in (await collection.index_information()).items():
        if [field for field, _ in index["key"]] == ["expires_at"]:
            if index.get("expireAfterSeconds") == 0:
                return
            if index["key"][0][1] == 1:
                raise StoreError(f"{obstacle}: {name!r}", remedy=remedy)
    try:
        await collection.create_index(
            "expires_at", name=TTL_INDEX, expireAfterSeconds=0, partialFilterExpression=documents.MARK
        )
    except OperationFailure as error:
        if error.code in (85, 86):
            raise StoreError(obstacle, remedy=remedy) from error
        raise
    for name, index in (await collection.index_information()).items():
        if index["key"] == [("expires_at", 1)] and "partialFilterExpression" not in index:
            # A server that ignores the filter, such as NX-27017, would remove documents of other programs.
            await collection.drop_index(name)
