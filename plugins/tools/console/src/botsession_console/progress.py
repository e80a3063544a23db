"""A progress counter for long commands, on standard error, and only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from botsession_console.screen import make_console


@contextmanager
def progress_counter(verb: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """Show how many items are done; the line disappears at the end.

    Args:
        verb: What is done to each item, such as `deleted`.
        total: The number of items, if it is known; it adds a bar.

    Yields:
        A function that takes the number of further items done.
    """
    console = make_console(stderr=True)
    count = f"{verb} {{task.completed:,}}" + ("" if total is None else f" of {total:,}")
    columns = [TextColumn(count), *([] if total is None else [BarColumn(bar_width=30)])]
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(verb, total=total)
        yield lambda more: progress.advance(task, more)
