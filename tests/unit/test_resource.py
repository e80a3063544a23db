"""`Resource` opens a driver's client once, in the right event loop; `WorkerThread` runs a client that blocks."""

import asyncio
import os
import threading

import pytest

from botsession import StoreError
from botsession.storage.resource import Resource
from botsession.storage.threads import WorkerThread


class Client:
    """A client that counts how often it is opened and closed."""

    def __init__(self):
        self.opened = self.closed = 0

    async def open(self):
        await asyncio.sleep(0)
        self.opened += 1
        return object()

    async def close(self, value):
        await asyncio.sleep(0)
        self.closed += 1

    def resource(self, **options):
        return Resource("the store", self.open, self.close, **options)


def test_it_is_opened_once_and_closed_once():
    client = Client()
    resource = client.resource()

    async def main():
        with pytest.raises(StoreError, match=r"the store is not open\. Call `await store\.init\(\)` first"):
            resource.get()
        await resource.close()
        await asyncio.gather(*(resource.open() for _ in range(5)))
        assert resource.get() is resource.get()
        await asyncio.gather(*(resource.close() for _ in range(5)))
        assert (client.opened, client.closed) == (1, 1)
        with pytest.raises(StoreError):
            resource.get()
        await resource.open()
        assert client.opened == 2
        await resource.close()

    asyncio.run(main())


def test_an_opening_that_fails_can_be_repeated():
    client = Client()

    async def fail():
        if client.opened == 0:
            client.opened = 1
            raise OSError("no answer")
        return "open"

    resource = Resource("the store", fail, client.close)

    async def main():
        with pytest.raises(OSError, match="no answer"):
            await resource.open()
        with pytest.raises(StoreError):
            resource.get()
        await resource.open()
        assert resource.get() == "open"

    asyncio.run(main())


async def _get(resource):
    return resource.get()


def test_it_ends_with_its_event_loop():
    client = Client()
    resource = client.resource()
    asyncio.run(resource.open())
    with pytest.raises(StoreError, match="was opened in another event loop, which has ended"):
        asyncio.run(_get(resource))
    asyncio.run(resource.close())
    assert client.closed == 0, "what belongs to an event loop that has ended cannot be closed"
    asyncio.run(resource.open())
    assert client.opened == 2


def test_a_portable_one_outlives_its_event_loop():
    client = Client()
    resource = client.resource(is_portable=True)
    asyncio.run(resource.open())
    value = asyncio.run(_get(resource))
    assert asyncio.run(_get(resource)) is value
    asyncio.run(resource.close())
    assert (client.opened, client.closed) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("is_portable", [False, True])
def test_a_forked_process_opens_its_own_and_leaves_the_parents_alone(is_portable):
    client = Client()
    resource = client.resource(is_portable=is_portable)

    async def in_the_child():
        with pytest.raises(StoreError, match="was opened before this process was forked"):
            resource.get()
        await resource.close()
        assert client.closed == 0
        await resource.open()
        resource.get()
        assert client.opened == 2
        await resource.close()
        assert client.closed == 1

    asyncio.run(resource.open())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(in_the_child())
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Connection:
    """A client that records the threads in which it is used."""

    def __init__(self):
        self.threads = {threading.current_thread()}
        self.done = []

    def close(self):
        self.threads.add(threading.current_thread())
        self.done.append("close")


def test_one_thread_does_one_job_after_the_other():
    async def main():
        worker = WorkerThread("worker")
        with pytest.raises(RuntimeError):
            await worker.run(lambda connection: connection)
        await worker.start(Connection)
        connection = await worker.run(lambda connection: connection)
        await asyncio.gather(*(worker.run(lambda each, n=n: each.done.append(n)) for n in range(20)))
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda _: 1 / 0)
        await worker.stop()
        await worker.stop()
        assert connection.done == [*range(20), "close"]
        (thread,) = connection.threads
        assert thread.name.startswith("worker")
        assert not thread.is_alive()

    asyncio.run(main())


def test_a_start_that_fails_leaves_no_thread():
    async def main():
        before = set(threading.enumerate())
        with pytest.raises(ZeroDivisionError):
            await WorkerThread("worker").start(lambda: 1 / 0)
        assert set(threading.enumerate()) == before

    asyncio.run(main())


def test_a_cancelled_call_ends_with_its_job_and_a_waiting_job_is_dropped():
    async def main():
        worker = WorkerThread("worker")
        await worker.start(Connection)
        begun, end = threading.Event(), threading.Event()

        def slow(connection):
            begun.set()
            end.wait(10)
            connection.done.append("slow")

        first = asyncio.ensure_future(worker.run(slow))
        second = asyncio.ensure_future(worker.run(lambda connection: connection.done.append("second")))
        assert await asyncio.to_thread(begun.wait, 10)
        for _ in range(3):
            first.cancel()
            second.cancel()
            await asyncio.sleep(0.001)
        assert second.cancelled()
        assert not first.done()
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await worker.run(lambda connection: list(connection.done)) == ["slow"]
        await worker.stop()

    asyncio.run(main())
