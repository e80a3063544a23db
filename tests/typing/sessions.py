"""Types of session states as a bot author's editor sees them. Checked by mypy, never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from botsession import Session, Sessions


@dataclass
class Order:
    count: int = 0


async def untyped() -> None:
    sessions = Sessions("memory", initial_state={"count": 0})
    assert_type(sessions, Sessions[dict[str, Any]])
    async with sessions.turn("telegram:42") as session:
        assert_type(session.state, dict[str, Any])
        session.set_state({"count": 1})


async def typed() -> None:
    async with Sessions("memory", state_type=Order) as sessions:
        async with sessions.turn("telegram:42") as session:
            assert_type(session, Session[Order])
            session.state.count += 1
            session.state.cuont += 1  # type: ignore[attr-defined]  # the misspelling is found

        def increment(session: Session[Order]) -> None:
            session.state.count += 1

        assert_type(await sessions.update("telegram:42", increment), Session[Order])
        assert_type(await sessions.read("telegram:42"), Session[Order] | None)


def bare(session: Session) -> dict[str, Any]:
    return session.state
