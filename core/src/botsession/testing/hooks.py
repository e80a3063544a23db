"""What a driver author can define in a suite."""

# ruff: noqa: ARG002 - the defaults of the hooks do not use their arguments

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Collection, Mapping

    from botsession.lifetime import Clock
    from botsession.protocol import SessionStore
    from botsession.testing.clock import ManualClock


class Hooks:
    """The attributes and methods that a driver author sets; only `store_type` is required.

    Attributes:
        store_type: The store's class.
        shared: Whether two stores with the same options see the same sessions, in other processes too.
        lease_order: Whether leases are granted in order of arrival.
        expires_by_itself: Whether the backend removes expired records, readable or not, without `purge`.
        granularity: How many seconds of real time after its deadline a session may still be found.
        examples: The number of examples of each generated test.
        large: The number of sessions in a large batch: more than fits into a page, a packet or a list of parameters, whose limits
            are round numbers.
        time_limit: After how many seconds a test counts as hanging.
    """

    store_type: ClassVar[Callable[..., SessionStore]]
    shared: ClassVar[bool] = False
    lease_order: ClassVar[bool] = True
    expires_by_itself: ClassVar[bool] = False
    granularity: ClassVar[float] = 0.1
    examples: ClassVar[int] = 50
    large: ClassVar[int] = 1_050
    time_limit: ClassVar[float] = 60

    def options(self, namespace: str) -> Mapping[str, Any]:
        """Return the arguments of the store's constructor.

        Args:
            namespace: A text of letters, digits and `-`, new for each test. Stores in different namespaces must not see each other's
                sessions: use it as the folder, the collection or, with a separator, the prefix of the keys.
        """
        return {}

    def make_store(self, clock: Clock, namespace: str, **options: Any) -> SessionStore:
        """Return a store that is not open. Override it only if calling the class with `options` is not enough.

        Args:
            clock: The clock of the test; the store must use it.
            namespace: See `options`.
            **options: The options that the test needs, such as `expires_in` and `max_lifetime`, and what `unreachable` returns.
        """
        takes_clock = "clock" in inspect.signature(type(self).store_type).parameters
        given = {"clock": clock} if takes_clock else {}
        return type(self).store_type(**{**self.options(namespace), **given, **options})

    def elsewhere(self, namespace: str) -> Callable[[], SessionStore]:
        """Return a picklable function with which another process makes the same store."""
        return functools.partial(type(self).store_type, **self.options(namespace))

    async def age(self, store: SessionStore, clock: ManualClock, minutes: float) -> None:
        """Let time pass. Override it if the backend alone decides what has expired."""
        clock.advance(minutes=minutes)

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        """Damage a stored session behind the store's back, so that it is unreadable.

        If the backend keeps bytes, include some that are not UTF-8: the quarantine must keep them too.
        """
        pytest.skip("the suite does not override the hook `corrupt`")

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        """Return what is at a place that `quarantine` returned, in the form of `CorruptSessionError.raw`."""
        pytest.skip("the suite does not override the hook `quarantined`")

    def unreachable(self, secret: str) -> Mapping[str, Any]:
        """Return options of a store whose backend does not answer, and fails quickly.

        Args:
            secret: Use it as the password, if the options can contain one.
        """
        pytest.skip("the suite does not override the hook `unreachable`")

    def outage(self, store: SessionStore) -> contextlib.AbstractAsyncContextManager[None]:
        """Cut an open store off from its backend, and reconnect it at the end.

        Use any way to make the backend fail at once: stop its container, cut a proxy before it, make it refuse connections and close
        those that are open, move its folder away.
        """
        pytest.skip("the suite does not override the hook `outage`")

    def address(self) -> tuple[str, int]:
        """Return host and port of the server that the tests use.

        Together with `through` it lets the kit put a proxy between store and server, which loses replies, hangs and breaks connections.
        """
        pytest.skip("the suite does not override the hook `address`")

    def through(self, namespace: str, host: str, port: int) -> Mapping[str, Any]:
        """Return options of a store that reaches the backend at another address; they override `options`.

        If the store has a time limit for a server that does not answer, make it about half a second.

        Args:
            namespace: See `options`.
            host: The host of a proxy.
            port: The port of a proxy.
        """
        pytest.skip("the suite does not override the hook `through`")

    async def footprint(self, store: SessionStore) -> Collection[object]:
        """Return all that the backend keeps in the store's namespace: keys, rows, documents or files, with their content.

        Include sessions, leases, queues, indexes and whatever else the driver makes. Leave out what the backend removes itself in
        time, such as the key of a lease that has an expiry of its own.
        """
        pytest.skip("the suite does not override the hook `footprint`")

    def refusal(self, store: SessionStore) -> contextlib.AbstractAsyncContextManager[None]:
        """Make the backend reject writes until the end, while it keeps running.

        Use any way to do that: revoke the rights of the user, make it read-only, let it run out of space.
        """
        pytest.skip("the suite does not override the hook `refusal`")

    def handed_in(self, namespace: str) -> contextlib.AbstractAsyncContextManager[Mapping[str, Any]]:
        """Connect a client of the backend, yield options of a store that uses it, and close it at the end.

        Args:
            namespace: See `options`, which the yielded options override.
        """
        pytest.skip("the suite does not override the hook `handed_in`")
