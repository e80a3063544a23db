"""What a driver's author tells the conformance kit."""

# ruff: noqa: ARG002 - the defaults of the hooks need less than what they are given

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
    """The attributes and methods that a driver's author sets; only `store_type` is always needed.

    Attributes:
        store_type: The store's class.
        shared: Whether two stores made with the same options see the same sessions, in other processes too.
        lease_order: Whether leases are given in the order in which they were asked for.
        expires_by_itself: Whether the backend removes what has expired, readable or not, without `purge`.
        granularity: How many seconds after its deadline a session may still be found, by the real clock.
        examples: How many examples each generated test tries.
        large: How many sessions a large batch has: more than a page, a packet or a list of parameters holds, whose limits are
            round numbers.
        time_limit: How many seconds one test may take before it counts as hanging.
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
        """Returns the arguments of the store's constructor.

        Args:
            namespace: A text of letters, digits and `-`, new for each test. Stores of different namespaces must not see
                each other's sessions: make it the folder, the collection or, with a separator, the prefix of the keys.
        """
        return {}

    def make_store(self, clock: Clock, namespace: str, **options: Any) -> SessionStore:
        """Makes a store that is not connected; override it only where calling the class with `options` is not enough.

        Args:
            clock: The clock of the test; the store must use it.
            namespace: See `options`.
            **options: What the test asks for (`expires_in`, `max_lifetime`), and what `unreachable` returns.
        """
        takes_clock = "clock" in inspect.signature(type(self).store_type).parameters
        given = {"clock": clock} if takes_clock else {}
        return type(self).store_type(**{**self.options(namespace), **given, **options})

    def elsewhere(self, namespace: str) -> Callable[[], SessionStore]:
        """Returns a function by which another process makes the same store; it must be picklable."""
        return functools.partial(type(self).store_type, **self.options(namespace))

    async def age(self, store: SessionStore, clock: ManualClock, minutes: float) -> None:
        """Lets time pass for what is stored; override it where the backend alone decides what has expired."""
        clock.advance(minutes=minutes)

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        """Damages a stored session behind the store's back, so that it cannot be read any more.

        Where the backend keeps bytes, leave some that are no UTF-8: what is put aside must keep those too.
        """
        pytest.skip("the suite does not say how to `corrupt` a stored session")

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        """Returns what lies at a place that `quarantine` told, as `CorruptSessionError.raw` showed it before."""
        pytest.skip("the suite does not say how to look at what was `quarantined`")

    def unreachable(self, secret: str) -> Mapping[str, Any]:
        """Returns options of a store whose backend does not answer, quickly.

        Args:
            secret: Use it as the password, where the options can hold one.
        """
        pytest.skip("the suite does not say with which options the store is `unreachable`")

    def outage(self, store: SessionStore) -> contextlib.AbstractAsyncContextManager[None]:
        """Cuts an open store off from its backend, and lets it back at the end.

        However the backend can be made to fail at once: stop its container, cut a proxy before it, have it refuse
        connections and end those that are open, move its folder away.
        """
        pytest.skip("the suite does not say how to make an `outage`")

    def address(self) -> tuple[str, int]:
        """Returns host and port of the server that the tests use.

        With `through` it lets the kit put a proxy between store and server, which loses answers, hangs and breaks connections.
        """
        pytest.skip("the suite does not say at which `address` the backend listens")

    def through(self, namespace: str, host: str, port: int) -> Mapping[str, Any]:
        """Returns options of a store that reaches the backend at another address; they take precedence over `options`.

        Where the store has a time limit for a server that does not answer, make it one of half a second or so.

        Args:
            namespace: See `options`.
            host: Where a proxy listens.
            port: Where a proxy listens.
        """
        pytest.skip("the suite does not say how a store goes `through` another address")

    async def footprint(self, store: SessionStore) -> Collection[object]:
        """Returns all that the backend keeps in the store's namespace: keys, rows, documents or files, with what is in them.

        Sessions, leases, queues, indexes and whatever else the driver made. Leave out what the backend removes by itself in time,
        such as the key of a lease that has an expiry of its own.
        """
        pytest.skip("the suite does not say how to look at the store's `footprint`")

    def refusal(self, store: SessionStore) -> contextlib.AbstractAsyncContextManager[None]:
        """Has the backend answer writes by an error of its own until the end, while it goes on to run.

        However that can be done: take the rights of the user away, make it read-only, let it run out of space.
        """
        pytest.skip("the suite does not say how the backend comes to a `refusal`")

    def handed_in(self, namespace: str) -> contextlib.AbstractAsyncContextManager[Mapping[str, Any]]:
        """Connects a client of the backend, gives options of a store that uses it, and closes it at the end.

        Args:
            namespace: See `options`; what is given goes before what `options` returns.
        """
        pytest.skip("the suite does not say how a client is `handed_in`")
