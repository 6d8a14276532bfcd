"""Metrics as JSON lines."""

import json
import math
import time


class MetricsWriter:
    """Appends rows to a file, one JSON object a line; `path=None` writes nothing."""

    def __init__(self, path):
        self._file = None if path is None else open(path, "a", encoding="utf-8")
        self._start = time.monotonic()

    def write(self, **row):
        """Appends a row and the seconds since the start; numbers that are not finite are null."""
        if self._file is not None:
            row = {"seconds": round(time.monotonic() - self._start, 3), **row}
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
