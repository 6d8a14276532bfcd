"""JSON of files that may be damaged, or a stranger's: what is not of its kind is left out.

What is absent or damaged is noted, in words, in the list `missing`.
"""

import json
import math

import numpy as np

LARGEST_FILE = 200_000_000  # bytes
MOST = 2**53  # of a whole number, which is one in every reader of JSON
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
    found = np.array([number({name: value}, name) for value in values], np.float64)
    return found if np.isfinite(found).all() else found[:0]


def text(row, name) -> str | None:
    """A text of a row; None where there is none."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, str) else None


def _text_of(folder, name, missing, absent):
    """The text of a file; "" where it is missing, which is noted."""
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_FILE or not path.is_file():
            missing.append(f"{name} is no file of at most {LARGEST_FILE // 1_000_000} MB")
            return ""
        if not (content := path.read_text(encoding="utf-8", errors="replace")):
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
        found = json.loads(content)
    except BAD_JSON:
        found = None
    if not isinstance(found, dict):
        missing.append(f"{name} is damaged")
        return {}
    return found


def rows_of(folder, name, read_row, missing):
    """What `read_row` makes of the lines of a file; the others are counted in a note."""
    lines, found = _text_of(folder, name, missing, None).splitlines(), []
    for line in lines:
        try:
            row = json.loads(line)
            if isinstance(row, dict):
                found.append(read_row(row))
        except (*BAD_JSON, *BAD_VALUE):
            pass
    if left := len(lines) - len(found):
        missing.append(f"{name}: {left} of {len(lines)} lines are damaged and left out")
    return found
