"""Tables of architectures whose accuracy is known.

A table is a CSV file (also gzipped) with a column `arch_str`, the text form of the decisions, and
columns of accuracies in percent, named `DATASET_PART_acc_EPOCHSep`, for example
`cifar10_test_acc_200ep`; other columns are ignored.
"""

import csv
import dataclasses
import gzip
import io
import re
import zlib

import numpy as np

from bnao_jax import files
from bnao_jax.decisions import ArchitectureError, Decisions

ARCHITECTURE = "arch_str"
ACCURACY = re.compile(r"[a-z0-9]+_[a-z]+_acc_[0-9]+ep")
GZIP = b"\x1f\x8b"


class GroundTruthError(ValueError):
    """A table is absent, unreadable or not of the stated form."""


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """Known accuracies of P architectures.

    Attributes:
      pool: int32[P, D], all different.
      accuracies: for each column of the table float64[P], 0..1.
    """

    pool: np.ndarray
    accuracies: dict[str, np.ndarray]

    def of(self, pool, column: str) -> np.ndarray:
        """The accuracies float64[P'] of a pool [P', D].

        Raises:
          GroundTruthError: the table has no such column, or not all of these architectures.
        """
        if column not in self.accuracies:
            raise GroundTruthError(
                f"the table has no column {column!r}; it has {', '.join(self.accuracies)}"
            )
        rows = {row.tobytes(): n for n, row in enumerate(self.pool)}
        places = [rows.get(row.tobytes()) for row in np.asarray(pool, np.int32)]
        if missing := places.count(None):
            raise GroundTruthError(f"the table lacks {missing} of {len(places)} architectures")
        return self.accuracies[column][places]


def load(path, decisions: Decisions) -> GroundTruth:
    """Reads a table.

    Raises:
      GroundTruthError: it cannot be read; a text is no architecture of the space or occurs twice;
        an accuracy is no number from 0 to 100. It names the line.
    """
    try:
        content = files.read(path)
        if content.startswith(GZIP):
            content = _decompressed(content)
        lines = content.decode("utf-8").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise GroundTruthError(f"{path} cannot be read: {error}") from None
    try:
        return _table(csv.DictReader(lines), decisions)
    except (GroundTruthError, csv.Error) as error:
        raise GroundTruthError(f"{path}: {error}") from None


def _decompressed(content):
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(files.MOST + 1)
    if len(text) > files.MOST:
        raise OSError(f"it holds more than {files.MOST} bytes")
    return text


def _table(reader, decisions):
    fields = reader.fieldnames or []
    columns = [name for name in fields if ACCURACY.fullmatch(name or "")]
    if ARCHITECTURE not in fields or not columns:
        raise GroundTruthError(
            f"the first line must name a column {ARCHITECTURE} and columns as "
            f"cifar10_test_acc_200ep; it names {', '.join(map(str, fields))[:200]}"
        )
    pool, values, first = [], [], {}
    for row in reader:
        try:
            architecture = decisions.parse(row[ARCHITECTURE] or "")
            accuracies = [_percent(row[name], name) for name in columns]
        except (ArchitectureError, GroundTruthError) as error:
            raise GroundTruthError(f"line {reader.line_num}: {error}") from None
        before = first.setdefault(architecture.tobytes(), reader.line_num)
        if before != reader.line_num:
            raise GroundTruthError(f"lines {before} and {reader.line_num}: the same architecture")
        pool.append(architecture)
        values.append(accuracies)
    if not pool:
        raise GroundTruthError("it holds no architecture")
    table = np.array(values, np.float64).T / 100
    return GroundTruth(np.array(pool, np.int32), dict(zip(columns, table, strict=True)))


def _percent(text, name):
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 100:
        raise GroundTruthError(f"{name}: {str(text)[:30]!r} is no number from 0 to 100")
    return value
