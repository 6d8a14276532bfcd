"""Progress of long work: phase, share done, rate, time left, and a few numbers."""

import contextlib
import datetime
import sys
import threading
import time

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PERIOD = 30.0  # seconds between two lines where there is no terminal
WIDE = 110  # characters of a terminal that has room for a bar beside the words
BAR = 24


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
    """Shows phases on standard error: a live line on a terminal, elsewhere a line a period.

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
            return
        at = _Standing(name, unit, done, total)

        def advance(count=0, note="", done=None, total=None):
            at.advance(count, ", ".join(filter(None, (note, self.standing))), done, total)
            tell()

        at.note = self.standing
        if sys.stderr.isatty():
            tell = lambda: None  # it is looked at four times a second
            with Live(
                get_renderable=lambda: self._shown(at), console=self._console, transient=True
            ):
                yield advance
        else:
            tell = lambda: self._tell(at)
            with _reminded(at):
                yield advance

    def _shown(self, at):
        words = Text(at.line())
        if not at.total or self._console.width < WIDE:
            return words
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=at.total, completed=at.done, width=BAR), words)
        return row

    def _tell(self, at):
        """A line at the first advance after every PERIOD."""
        if (now := time.monotonic()) - self._told >= PERIOD:
            self._told = now
            print(at.line(), file=sys.stderr, flush=True)


class _Standing:
    """How far a phase has come."""

    def __init__(self, name, unit, done, total):
        self.name, self.unit, self.done, self.total = name, unit, done, total
        self.note, self.start, self.begun = "", time.monotonic(), threading.Event()
        self.first = None  # (when, units done), after what had to be compiled

    def advance(self, count, note, done, total):
        self.done = self.done + count if done is None else done
        self.total, self.note = total or self.total, note
        self.first = self.first or (time.monotonic(), self.done)
        self.begun.set()

    def line(self):
        """The phase in words."""
        now, of = time.monotonic(), f"/{self.total}" if self.total else ""
        parts = [f"{self.name} {self.done}{of} {self.unit}" if self.unit else self.name]
        if self.first is None:
            parts.append(f"{'compiling, ' if self.total else ''}{_clock(now - self.start)}")
        elif now > self.first[0] and self.done > self.first[1]:
            speed = (self.done - self.first[1]) / (now - self.first[0])
            parts.append(f"{speed:.3g}/s")
            if self.total:
                parts.append(f"{_clock((self.total - self.done) / speed)} left")
        return ", ".join(filter(None, (*parts, self.note)))


@contextlib.contextmanager
def _reminded(at):
    """Until a phase has begun to advance, a line every PERIOD says that it goes on."""
    over = threading.Event()

    def wait():
        while not (over.wait(PERIOD) or at.begun.is_set()):
            print(at.line(), file=sys.stderr, flush=True)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _clock(seconds):
    return str(datetime.timedelta(seconds=round(seconds)))
