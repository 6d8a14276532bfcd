"""What long work says on standard error."""

import io
import sys

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


def test_a_terminal_shows_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    display = Display()
    display.standing = "best 0.5000 so far"
    with display.phase("train", 10, "steps") as advance:
        advance(5, "loss 2.3")
    shown = sys.stderr.getvalue()
    for part in ("train", "5/10", "steps", "loss 2.3, best 0.5000 so far"):
        assert part in shown, shown
