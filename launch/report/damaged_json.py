"""Reads JSON files that may be damaged or written by somebody else.

A value of the wrong type is left out. The list `missing` collects, in words, what is absent or
damaged.
"""

import json
import math

import numpy as np

from bnao_jax import files

LARGEST_FILE = 200_000_000  # bytes
MOST = 2**53  # the largest whole number that every JSON reader keeps exactly
BAD_JSON = (ValueError, RecursionError)
BAD_VALUE = (ValueError, LookupError, TypeError)


def number(row, name) -> float:
    """A number of a row; NaN where there is none."""
    value = row.get(name) if isinstance(row, dict) else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST
    return float(value) if good else math.nan


def numbers(row, name) -> np.ndarray:
    """A list of numbers of a row: float64[…], empty where there is none."""
    values = row.get(name)
    values = values if isinstance(values, list) else []
    array = np.array([number({name: value}, name) for value in values], np.float64)
    return array if np.isfinite(array).all() else array[:0]


def text(row, name) -> str | None:
    """A text of a row; None where there is none."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, str) else None


def _text_of(folder, name, missing, absent):
    """The text of a file; "" where it is missing, which is noted."""
    path = folder / name
    try:
        content = files.read(path, links=False, most=LARGEST_FILE).decode("utf-8", "replace")
        if not content:
            missing.append(f"{name} is empty")
        return content
    except OSError as error:
        missing.append(f"{name}: {absent or error.strerror}")
        return ""


def object_of(folder, name, missing, absent=None):
    """The JSON object of a file; {} where there is none, which is noted."""
    if not (content := _text_of(folder, name, missing, absent)):
        return {}
    try:
        value = json.loads(content)
    except BAD_JSON:
        value = None
    if not isinstance(value, dict):
        missing.append(f"{name} is damaged")
        return {}
    return value


def rows_of(folder, name, read_row, missing):
    """`read_row(row)` of every sound line of a file; a note in `missing` counts the others."""
    lines, rows = _text_of(folder, name, missing, None).splitlines(), []
    for line in lines:
        try:
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(read_row(row))
        except (*BAD_JSON, *BAD_VALUE):
            pass
    if left := len(lines) - len(rows):
        missing.append(f"{name}: {left} of {len(lines)} lines are damaged and left out")
    return rows
