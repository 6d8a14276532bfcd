"""When a run is kept, and how it ends when it is asked to."""

import contextlib
import signal
import socket
import sys
import threading
import time

from bnao_jax.parallel import any_process


class Stopped(Exception):
    """The run was asked to stop, and everything is kept."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.status = 0 if number == signal.SIGTERM else 128 + number  # of the exit


@contextlib.contextmanager
def _told_at_once():
    """While the block runs, a signal is answered in words though Python is not at work itself.

    A compilation is one call of native code, and handlers run after it; a thread need not wait.
    """
    read, write = socket.socketpair()
    write.setblocking(False)

    def tell():
        while number := read.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                name = signal.Signals(number[0]).name
                print(f"{name}: ends after the present steps or compilation", file=sys.stderr)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        write.close()
        thread.join()
        read.close()


class Keeper:
    """Keeps a run from time to time, and stops it when SIGTERM or SIGINT asks for that.

    Args:
      save: `save(score, wait=…)` writes a checkpoint; does nothing on processes that write none.
      every_steps: training steps between two checkpoints.
      every_seconds: the same for time, whatever the run is doing.
    """

    def __init__(self, save, *, every_steps, every_seconds):
        self._save, self._every_steps, self._every_seconds = save, every_steps, every_seconds
        self._steps, self._saved_at, self._asked = 0, time.monotonic(), None

    @contextlib.contextmanager
    def listening(self):
        """Takes the signals while the block runs; a second SIGINT ends the program at once."""

        def ask(number, frame):
            if self._asked == signal.SIGINT == number:
                raise KeyboardInterrupt
            self._asked = number

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with _told_at_once():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def between(self, steps=0):
        """To be called between two dispatches, `steps` training steps after the last call.

        Raises:
          Stopped: after a checkpoint, where any process was asked to stop.
        """
        self._steps += steps
        asked = any_process(self._asked is not None)
        waited = time.monotonic() - self._saved_at
        if asked or self._steps >= self._every_steps or waited >= self._every_seconds:
            self.keep(wait=asked)
        if asked:
            raise Stopped(self._asked or signal.SIGTERM)

    def keep(self, score=None, *, wait=False):
        """Keeps the run now; with a score the checkpoint competes to be the best."""
        self._save(score, wait=wait)
        self._steps, self._saved_at = 0, time.monotonic()
