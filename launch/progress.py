"""A live progress display: phase, share done, rate, time left, and a few numbers."""

import contextlib
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Display:
    """Shows phases on standard error; silent where that is not a terminal or `quiet`."""

    def __init__(self, *, quiet=False):
        self._on = not quiet and sys.stderr.isatty()
        self._console = Console(stderr=True)

    @contextlib.contextmanager
    def phase(self, name, total, unit, *, done=0):
        """Yields `advance(count, note)` for a phase of `total` units, None if unknown.

        `done` units are done before. `advance(done=…, total=…)` sets both instead.
        """
        if not self._on:
            yield lambda count=0, note="", done=None, total=None: None
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            *([MofNCompleteColumn(), TextColumn("{task.fields[unit]}")] if total else []),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn() if total else TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(
                name,
                **dict(total=total, completed=done, unit=unit, note=""),
                rate="compiling" if total else "",
            )

            def advance(count=0, note="", done=None, total=None):
                speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
                rate = f"{speed:.3g}/s" if speed else ""
                done = bar.tasks[0].completed + count if done is None else done
                bar.update(task, completed=done, total=total, note=note, rate=rate)

            yield advance
