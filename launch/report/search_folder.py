"""Reads a search's folder, which may be unfinished, damaged or written by somebody else.

Files are JSON. Every value is checked; a wrong one is left out and named. Checkpoints are not
opened.

Glossary: P architectures.
"""

import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from bnao_jax.objective import KINDS
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings, make
from launch.command import UsageError
from launch.config.schema import fields_of
from launch.report.damaged_json import BAD_VALUE, MOST, number, object_of, rows_of
from launch.run import workdir

LARGEST = 2**16  # side of images, or number of classes
LONGEST_TEXT = 2_000  # characters of an architecture
ANY_CLASSES = 10  # where the number of classes does not matter


class Architectures(NamedTuple):
    """Architectures of a file, in its order.

    Attributes:
      texts: their text forms, a list.
      params, macs: int64[P].
      round: int64[P], which they were proposed for; 0 where the file does not say.
      score: float64[P], higher is better; NaN before the first.
      accuracy: float64[P], on the validation images with shared weights, 0..1; NaN as score.
      trained: int64[P], steps that trained each; 0 where the file does not say.
    """

    texts: list
    params: np.ndarray
    macs: np.ndarray
    round: np.ndarray
    score: np.ndarray
    accuracy: np.ndarray
    trained: np.ndarray


class Unit(NamedTuple):
    """How scores are drawn and written: accuracies in percent, others as they are.

    Attributes:
      kind: of score, see `bnao_jax.score`.
      factor: what a score is multiplied by.
      digits: after the point.
      sign: after a number.
    """

    kind: str
    factor: float
    digits: int
    sign: str

    @property
    def axis(self) -> str:
        """What an axis of scores is called."""
        return f"score ({KINDS[self.kind]})" + (f",{self.sign}" if self.sign else "")

    def format(self, score) -> str:
        """A score in words."""
        if not math.isfinite(score):
            return "unknown"
        return f"{self.factor * score:.{self.digits}f}{self.sign}"


FIELDS = fields_of("search")
PERCENT = Unit("accuracy", 100.0, 1, " %")


class Run(NamedTuple):
    """The contents of a search's folder.

    Attributes:
      folder: its path.
      config: field to value, as the file has it.
      space: the search space, with any number of classes; None where the config names none.
      pool: the architectures.
      baseline: (group, accuracy 0..1 on images that judge) of networks trained to be compared.
      rounds, training: rows of the metrics, as dicts, in order.
      result: of the finished search, {} before.
      machine: what it ran on, {} where nobody wrote it.
      missing: what is absent or damaged, in words.
    """

    folder: pathlib.Path
    config: dict[str, Any]
    space: Any
    pool: Architectures
    baseline: list
    rounds: list
    training: list
    result: dict
    machine: dict
    missing: list

    def field(self, name):
        """A field of the config; None where it is absent or cannot be."""
        value = self.config.get(name)
        return value if name in FIELDS and FIELDS[name].metadata["rule"].holds(value) else None

    @property
    def unit(self) -> Unit:
        """The unit of its scores."""
        kind = self.field("scoring.score") or "accuracy"
        return PERCENT if kind == "accuracy" else Unit(kind, 1.0, 3, "")

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return self.folder.resolve().name


def read(folder, code="", named=None) -> Run:
    """What is in a folder.

    `code` is the place of its space, where that is code and, if given, `named` so.

    Raises:
      UsageError: it is no folder, or there is nothing of a search in it.
    """
    folder, missing = pathlib.Path(folder).expanduser(), []
    config = _config(folder, missing)
    code = code if named in (None, config.get("space.name")) else ""
    rows = rows_of(folder, workdir.METRICS, _metrics, missing)
    of_search = any(name.startswith("search.") for name in config)
    if not (rows or of_search or (folder / workdir.POOL).is_file()):
        raise UsageError(f"--workdir={folder} holds no search")
    result = object_of(folder, workdir.RESULT, missing, "the search is not finished")
    compared = "against_random" in result or (folder / workdir.BASELINE).exists()
    return Run(
        folder,
        config,
        _space(folder, config, code, missing),
        pool=_architectures(folder, workdir.POOL, missing),
        baseline=rows_of(folder, workdir.BASELINE, _judged, missing if compared else []),
        rounds=[row for row in rows if row["phase"] == "round"],
        training=[row for row in rows if row["phase"] == "train"],
        result=result,
        machine=object_of(folder, workdir.MACHINE, missing),
        missing=missing,
    )


def architecture(row):
    """(text form, parameters, multiply-adds, round, score, accuracy, steps trained) of a row.

    Raises:
      ValueError, LookupError, TypeError: it is no such row.
    """
    form, score = row["arch"], row.get("score")
    counts = [row["params"], row["macs"], row.get("round", 0), row.get("times_trained", 0)]
    if not isinstance(form, str) or len(form) > LONGEST_TEXT:
        raise ValueError(form)
    for count in counts:
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST:
            raise ValueError(count)
    accuracy = row.get("accuracy", score)  # the only score of a row is the accuracy
    score = math.nan if score is None else _finite(row, "score")
    accuracy = math.nan if accuracy is None else _finite({"accuracy": accuracy}, "accuracy")
    if not (math.isnan(accuracy) or 0 <= accuracy <= 1):
        raise ValueError(accuracy)
    params, macs, born, trained = counts
    return form, params, macs, born, score, accuracy, trained


def _finite(row, name):
    if math.isnan(value := number(row, name)):
        raise ValueError(row[name])
    return value


def _judged(row):
    """(group, accuracy on images that judge) of a row of the baseline."""
    group, judged = row["group"], number(row, "judged")
    if not isinstance(group, str) or len(group) > LONGEST_TEXT or not 0 <= judged <= 1:
        raise ValueError(group)
    return group, judged


def _metrics(row):
    of_round = number(row, "round")
    if row["phase"] in ("round", "train") and not 1 <= of_round <= MOST:
        raise ValueError(of_round)
    return row


def _config(folder, missing):
    """Field to value of the config; {} where there is none, which is noted."""
    try:
        return workdir.fields_of(object_of(folder, workdir.CONFIG, missing))
    except RecursionError:
        missing.append(f"{workdir.CONFIG} is damaged")
        return {}


def _architectures(folder, name, missing):
    columns = list(zip(*rows_of(folder, name, architecture, missing), strict=True))
    texts, params, macs, born, score, accuracy, trained = columns or [()] * 7
    whole = lambda values: np.array(values, np.int64)
    reached = np.array(score, np.float64), np.array(accuracy, np.float64)
    return Architectures(
        list(texts), whole(params), whole(macs), whole(born), *reached, whole(trained)
    )


def _space(folder, config, code, missing):
    """The space that a config names; None, with a note, where it names none."""
    if not config:
        return None
    try:
        of = lambda section: {
            name.partition(".")[2]: config.get(name)
            for name in FIELDS
            if name.startswith(f"{section}.")
        }
        space, network = SpaceSettings(**of("space")), NetworkSettings(**of("network"))
        shape, classes = None, ANY_CLASSES
        if space.is_module:
            facts = workdir.read_network(folder)
            shape, classes = tuple(facts["image_shape"]), facts["classes"]
            if not all(type(n) is int and 0 < n <= LARGEST for n in (*shape, classes)):
                raise ValueError(f"{workdir.NETWORK} is damaged")
        return make(space, network, classes, shape, code=code)
    except BAD_VALUE as error:
        missing.append(f"the search space is not known: {error}")
        return None
