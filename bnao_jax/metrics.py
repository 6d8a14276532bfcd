"""Metrics as JSON lines."""

import json
import math
import os
import time


class MetricsWriter:
    """Appends rows to a file, one JSON object a line; `path=None` writes nothing.

    Args:
      path: the file.
      position: bytes of an earlier run that stay; what came after them is dropped.
      seconds: of that run, added to its rows' time.
    """

    def __init__(self, path, *, position=0, seconds=0.0):
        self._file = None
        self._start = time.monotonic() - seconds
        if path is not None:
            self._file = open(path, "a", encoding="utf-8")
            os.truncate(path, min(position, self.position))

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_size

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def write(self, **row):
        """Appends a row and the seconds since the start; numbers that are not finite are null."""
        if self._file is not None:
            row = {"seconds": round(self.seconds, 3), **row}
            self._file.write(json.dumps({key: _plain(value) for key, value in row.items()}) + "\n")
            self._file.flush()

    def close(self):
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _plain(value):
    if isinstance(value, bool | int | str) or value is None:
        return value
    value = float(value)
    return value if math.isfinite(value) else None
