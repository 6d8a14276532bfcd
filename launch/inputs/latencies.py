"""Tables of latencies that `launch.inspect --latency` printed, for searches with a limit."""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnao_jax import files
from bnao_jax.decisions import ArchitectureError
from bnao_jax.latency import LatencyModel
from launch.command import UsageError
from launch.config.plan import named


class Latencies(NamedTuple):
    """What a table says of latency.

    Attributes:
      predict: `pool -> seconds`; an architecture in the table has its measured median, others what
        the model predicts.
      model: fitted to the table.
      pool: int32[P, D], measured.
      seconds: float64[P], their medians.
    """

    predict: Callable
    model: LatencyModel
    pool: np.ndarray
    seconds: np.ndarray


def load_latencies(settings, space, image_shape) -> Latencies:
    """Those of the table that the settings of a search name.

    Raises:
      UsageError: the table cannot be read, or has no architecture at the batch size.
    """
    table = settings.latencies, settings.latency_batch
    pool, seconds = named("config.search.latencies", _read, *table, space.decisions)

    def features(pool):
        return np.column_stack([space.features(pool), space.cost(pool, image_shape).macs])

    model = LatencyModel(features(pool), seconds)
    median_of = dict(zip(space.decisions.keys(pool), seconds, strict=True))

    def predict(pool):
        keys = space.decisions.keys(pool)
        predicted = model(features(pool))
        return np.array([median_of.get(*pair) for pair in zip(keys, predicted, strict=True)])

    return Latencies(predict, model, pool, seconds)


def _read(path, batch, decisions):
    """Pool and median seconds of a table's lines at a batch size."""
    try:
        lines = files.read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    pool, seconds, batches = [], [], set()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            architecture = decisions.parse(row["arch"])
            medians = {entry["batch"]: float(entry["median"]) for entry in row["latency"]}
        except ArchitectureError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(
                f"{path}, line {number} is not what launch.inspect --latency prints"
            ) from None
        batches |= medians.keys()
        if (median := medians.get(batch)) is None:
            continue
        if not (math.isfinite(median) and median > 0):
            raise ValueError(f"{path}, line {number}: {median} is no time")
        pool.append(architecture)
        seconds.append(median)
    if not pool:
        sizes = ", ".join(map(str, sorted(batches, key=str))) or "none"
        raise ValueError(
            f"{path} has no latency at config.search.latency_batch={batch}; it has {sizes}"
        )
    return np.array(pool, np.int32), np.array(seconds)


def check(search, decisions):
    """Raises UsageError where a limit and its table do not go together; reads the table."""
    if (search.max_latency is None) != (not search.latencies):
        raise UsageError(
            "config.search.max_latency and config.search.latencies go together: a limit in "
            "seconds, and a table that launch.inspect --latency has printed"
        )
    if search.latencies:
        path, batch = search.latencies, search.latency_batch
        named("config.search.latencies", _read, path, batch, decisions)
