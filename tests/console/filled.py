"""Sessions for the commands to work on: files in `.sessions` of the working directory."""

from __future__ import annotations

import asyncio
import datetime as dt

from botsession import (
    Session,
    Sessions,
    Step,
    open_store,
    utc_now,
)

DRIVER = ("--driver", "file")


def store_in(folder, **options):
    return open_store("file", dirname=str(folder / ".sessions"), **options)


def write(folder, *sessions, ago=dt.timedelta(), expires_in=600):
    """Store sessions as if they had been written `ago` before now."""

    async def main():
        store = await store_in(folder, expires_in=expires_in, clock=lambda: utc_now() - ago).init()
        for start in range(0, len(sessions), 5000):
            batch = [Step.replace(session, None) for session in sessions[start : start + 5000]]
            assert set(await store.commit(batch)) == {None}
        await store.close()

    asyncio.run(main())


def fill(folder, count):
    write(folder, *(Session(f"telegram:{number}", {"count": number}) for number in range(count)))


def read(folder, session_id):
    async def main():
        store = await store_in(folder).init()
        try:
            return await store.read(session_id)
        finally:
            await store.close()

    return asyncio.run(main())


def damage(folder, session_id, content=b"{broken"):
    """Make a stored session unreadable."""
    name = session_id.replace(":", "%3a")
    (file,) = (folder / ".sessions").glob(f"*/{name}.json")
    broken = file.with_suffix(".broken")
    broken.write_bytes(content)
    broken.replace(file)  # atomic, so that no reader sees half of it


def change(folder, session_id, function):
    """Run a turn that changes the state with `function`."""

    async def main():
        async with Sessions(store_in(folder)) as sessions, sessions.turn(session_id) as session:
            function(session.state)

    asyncio.run(main())


def destroy(folder, session_id):
    async def main():
        store = await store_in(folder).init()
        await store.destroy(session_id)
        await store.close()

    asyncio.run(main())
