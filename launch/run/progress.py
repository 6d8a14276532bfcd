"""Progress of long work: phase, share done, rate, time left, and a few numbers."""

import contextlib
import datetime
import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PERIOD = 30.0  # seconds between two lines where there is no terminal


@contextlib.contextmanager
def fetching(name, *, quiet=False):
    """Yields `on_part(done, total)` for what loads a data set: bytes, if it has to be fetched."""
    with contextlib.ExitStack() as held:
        advance = None

        def on_part(done, total):
            nonlocal advance
            if advance is None:
                whole = total and total // 10**6
                phase = Display(quiet=quiet).phase(f"fetch {name}", whole, "MB")
                advance = held.enter_context(phase)
            advance(done=done // 10**6)

        yield on_part


class Display:
    """Shows phases on standard error: a live bar on a terminal, elsewhere a line a period.

    Attributes:
      standing: what all the work has reached so far, shown with every phase ("best 0.3438").
    """

    def __init__(self, *, quiet=False):
        self.standing = ""
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._told = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name, total, unit, *, done=0):
        """Yields `advance(count, note)` for a phase of `total` units, None if unknown.

        `done` units are done before. `advance(done=…, total=…)` sets both instead.
        """
        if self._quiet:
            yield lambda count=0, note="", done=None, total=None: None
        elif sys.stderr.isatty():
            with self._bar(name, total, unit, done) as advance:
                yield advance
        else:
            yield self._lines(name, total, unit, done)

    @contextlib.contextmanager
    def _bar(self, name, total, unit, done):
        """A bar that is gone when the phase is done."""
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
                **dict(total=total, completed=done, unit=unit, note=self.standing),
                rate="compiling" if total else "",
            )

            def advance(count=0, note="", done=None, total=None):
                speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
                rate = f"{speed:.3g}/s" if speed else ""
                done = bar.tasks[0].completed + count if done is None else done
                note = ", ".join(filter(None, (note, self.standing)))
                bar.update(task, completed=done, total=total, note=note, rate=rate)

            yield advance

    def _lines(self, name, total, unit, done):
        """A line at the first advance after every PERIOD."""
        at = {"done": done, "total": total}
        first = None  # (when, units done), after what had to be compiled

        def advance(count=0, note="", done=None, total=None):
            nonlocal first
            at["done"] = at["done"] + count if done is None else done
            at["total"] = total or at["total"]
            now = time.monotonic()
            first = first or (now, at["done"])
            if now - self._told < PERIOD:
                return
            self._told = now
            of = f"/{at['total']}" if at["total"] else ""
            parts = [f"{name} {at['done']}{of} {unit}"]
            if now > first[0] and at["done"] > first[1]:
                speed = (at["done"] - first[1]) / (now - first[0])
                parts.append(f"{speed:.3g}/s")
                if at["total"]:
                    left = datetime.timedelta(seconds=round((at["total"] - at["done"]) / speed))
                    parts.append(f"{left} left")
            line = ", ".join(filter(None, (*parts, note, self.standing)))
            print(line, file=sys.stderr, flush=True)

        return advance
