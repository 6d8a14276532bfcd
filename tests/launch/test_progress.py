"""What long work says on standard error."""

import io
import re
import sys
import time

import pytest

from launch.run import progress
from launch.run.progress import Display


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_pipe_receives_a_line_a_period(clock, capsys):
    display = Display()
    with display.phase("round 1 of 2: train", 100, "steps", done=10) as advance:
        clock[0] += 20  # the compiler's
        advance(10, "loss 2.300")
        clock[0] += 5
        advance(10, "loss 2.200")
        assert capsys.readouterr().err == ""  # the period is not over
        clock[0] += 5
        advance(10, "loss 2.100")
    expected = "round 1 of 2: train 40/100 steps, 2/s, 0:00:30 left, loss 2.100\n"
    assert capsys.readouterr().err == expected
    display.standing = "best 0.5000 so far"
    with display.phase("learn", 1, "epochs") as advance:
        clock[0] += progress.PERIOD
        advance(done=3, total=9)
        advance(done=4, total=9)
    assert capsys.readouterr().err == "learn 3/9 epochs, best 0.5000 so far\n"


def test_quiet_it_says_nothing(clock, capsys):
    with Display(quiet=True).phase("train", 10, "steps") as advance:
        clock[0] += 1000
        advance(10)
    assert capsys.readouterr().err == ""


def test_a_pipe_hears_of_what_takes_long_before_the_first_unit(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    with Display().phase("round 1 of 2: train", 100, "steps") as advance:
        time.sleep(0.2)
        lines = capsys.readouterr().err.splitlines()
        advance(100)
        time.sleep(0.1)
    assert len(lines) >= 2 and lines[0] == "round 1 of 2: train 0/100 steps, compiling, 0:00:00"
    assert "compiling" not in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_of_any_width_shows_all_figures(width, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    display = Display()
    display.standing = "best 0.9344 so far"
    with display.phase("round 2 of 4: train", 140_400, "steps") as advance:
        time.sleep(0.3)
        advance(46_000)
        time.sleep(0.3)
        advance(1_000, "loss 2.300")
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", sys.stderr.getvalue())
    words = " ".join(shown.split())
    for part in ("compiling, 0:00:00", "47000/140400 steps", "/s, 0:0", "left", "loss 2.300"):
        assert part in words, words
    assert "best 0.9344 so far" in words
    assert ("━" in words) == (width > progress.WIDE)
