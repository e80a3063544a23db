"""A count that moves while a long command works: on standard error, for a person only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from botsession_console.screen import make_console


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """Shows how many are done; the line vanishes at the end.

    Args:
        what: What is counted, such as `deleted`.
        total: How many there are to do, where that is known; it becomes a bar.

    Yields:
        A function that takes how many more are done.
    """
    console = make_console(stderr=True)
    count = f"{what} {{task.completed:,}}" + ("" if total is None else f" of {total:,}")
    columns = [TextColumn(count), *([] if total is None else [BarColumn(bar_width=30)])]
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)
