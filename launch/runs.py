"""A search's folder as it is found: under way, finished or damaged, and perhaps a stranger's.

Files are JSON and are believed value by value: what is not of its kind is left out and named.
Checkpoints are not opened.

Glossary: P architectures.
"""

import math
import pathlib
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from launch import workdir
from launch.command import UsageError
from launch.fields import RULES
from launch.records import BAD_VALUE, MOST, number, object_of, rows_of
from launch.spaces import SPACES

LONGEST_TEXT = 2_000  # characters of an architecture
ANY_CLASSES = 10  # for what does not depend on the data


class Architectures(NamedTuple):
    """Architectures of a file, in its order.

    Attributes:
      texts: their text forms, a list.
      params, macs: int64[P].
      round: int64[P], which they were proposed for; 0 where the file does not say.
      score: float64[P], 0..1; NaN before the first.
      trained: int64[P], steps that trained each; 0 where the file does not say.
    """

    texts: list
    params: np.ndarray
    macs: np.ndarray
    round: np.ndarray
    score: np.ndarray
    trained: np.ndarray


class Run(NamedTuple):
    """What is known of a search.

    Attributes:
      folder: its path.
      config: field to value, as the file has it.
      outline: of the networks, for any number of classes; None where the config names none.
      pool, control: the architectures.
      rounds, training: rows of the metrics, as dicts, in order.
      result: of the finished search, {} before.
      machine: what it ran on, {} where nobody wrote it.
      missing: what is absent or damaged, in words.
    """

    folder: pathlib.Path
    config: dict[str, Any]
    outline: Any
    pool: Architectures
    control: Architectures
    rounds: list
    training: list
    result: dict
    machine: dict
    missing: list

    def field(self, name):
        """A field of the config; None where it is absent or cannot be."""
        value = self.config.get(name)
        return value if name in RULES and RULES[name][0](value) else None

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return self.folder.resolve().name


def read(folder) -> Run:
    """What is in a folder.

    Raises:
      UsageError: it is no folder, or there is nothing of a search in it.
    """
    folder, missing = pathlib.Path(folder).expanduser(), []
    config = _config(folder, missing)
    rows = rows_of(folder, workdir.METRICS, _metrics, missing)
    of_search = any(name.startswith("search.") for name in config)
    if not (rows or of_search or (folder / workdir.POOL).is_file()):
        raise UsageError(f"--workdir={folder} holds no search")
    result = object_of(folder, workdir.RESULT, missing, "the search is not finished")
    with_control = result.get("control") or (folder / workdir.CONTROL).exists()
    return Run(
        *(folder, config, _outline(config, missing)),
        pool=_architectures(folder, workdir.POOL, missing),
        control=_architectures(folder, workdir.CONTROL, missing if with_control else []),
        rounds=[row for row in rows if row["phase"] == "round"],
        training=[row for row in rows if row["phase"] == "train"],
        result=result,
        machine=object_of(folder, workdir.MACHINE, missing),
        missing=missing,
    )


def architecture(row):
    """(text form, parameters, multiply-adds, round, score, steps trained) of a row of a file.

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
    score = math.nan if score is None else number(row, "score")
    if row.get("score") is not None and not 0 <= score <= 1:
        raise ValueError(score)
    params, macs, born, trained = counts
    return form, params, macs, born, score, trained


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
    texts, params, macs, born, score, trained = columns or [()] * 6
    whole = lambda values: np.array(values, np.int64)
    scores = np.array(score, np.float64)
    return Architectures(
        list(texts), whole(params), whole(macs), whole(born), scores, whole(trained)
    )


def _outline(config, missing):
    """The outline that a config names; None, with a note, where it names none."""
    if not config:
        return None
    try:
        own = {}
        for name, (holds, rule) in RULES.items():
            section, _, field = name.partition(".")
            if section not in ("space", "network"):
                continue
            if not holds(config.get(name)):
                raise ValueError(f"config.{name} must be {rule}")
            own.setdefault(section, {})[field] = config[name]
        return SPACES[config["space.name"]].outline(ConfigDict(own), ANY_CLASSES)
    except BAD_VALUE as error:
        missing.append(f"{workdir.CONFIG} names no network: {error}")
        return None
