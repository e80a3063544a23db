"""What the tests have in common."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


@pytest.fixture
def sql(path: Path) -> Callable[..., list[Any]]:
    """Runs a statement on the file, behind the store's back."""

    def run(statement: str, parameters: Any = ()) -> list[Any]:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            return db.execute(statement, parameters).fetchall()

    return run
