"""Metrics as JSON lines."""

import json
import math
import os
import time

from bnao_jax import files


class MetricsWriter:
    """Appends rows to a file, one JSON object a line; `path=None` writes nothing.

    `on_row(row)` sees every row of the file, first those of the earlier run.

    Args:
      path: the file.
      position: bytes of an earlier run that stay; what came after them is dropped.
      seconds: of that run, added to its rows' time.
      on_row: None for nobody.
      on_damage: is told what of the earlier run is not there, or cannot be read.
    """

    def __init__(self, path, *, position=0, seconds=0.0, on_row=None, on_damage=lambda text: None):
        self._file, self._on_row = None, on_row or (lambda row: None)
        self._start = time.monotonic() - seconds
        if path is not None:
            self._file = files.open_file(path, "a", links=False)
            if (there := self.position) < position:
                on_damage(f"{path} lacks {position - there} bytes that were written to it")
            os.ftruncate(self._file.fileno(), min(position, there))
            self._replay(path, on_damage)

    def _replay(self, path, on_damage):
        for number, line in enumerate(files.read(path, links=False).split(b"\n"), 1):
            try:
                row = json.loads(line or b"{}")
                if line:
                    self._on_row(row)
            except (ValueError, LookupError, TypeError, RecursionError):
                on_damage(f"line {number} of {path} is damaged")

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_size

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def write(self, **row):
        """Appends a row and the seconds since the start; numbers that are not finite are null.

        A value is a number, a text or a list of them.
        """
        if self._file is not None:
            row = {"seconds": round(self.seconds, 3), **row}
            row = {key: _plain(value) for key, value in row.items()}
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._on_row(row)

    def close(self):
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _plain(value):
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    value = float(value)
    return value if math.isfinite(value) else None
