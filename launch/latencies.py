"""Latencies as tables: measured by `launch.inspect --latency`, read by searches with a limit."""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from bnao_jax.latency import LatencyModel, measure
from bnao_jax.space import ArchitectureError
from launch import wiring
from launch.command import UsageError
from launch.spaces import SPACES, alone


def measured(config, outline, image_shape, architecture, batches, repeats) -> list[dict]:
    """Latency of one architecture for each batch size, in seconds."""
    network = wiring.make_network(config, alone(config), outline, architecture)
    device, found = jax.local_devices()[0], []
    for batch in batches:
        seconds = measure(network, image_shape, batch, repeats=repeats)
        found.append(
            {
                "batch": batch,
                "median": float(np.median(seconds)),
                "min": float(seconds.min()),
                "max": float(seconds.max()),
                "repeats": repeats,
                "device": f"{device.platform} {device.device_kind}",
                "dtype": config.network.dtype,
            }
        )
    return found


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


def load_latencies(config, outline, image_shape) -> Latencies:
    """Those of the table that a config names.

    Raises:
      UsageError: the table cannot be read, or has no architecture at the batch size.
    """
    path, batch = config.search.latencies, config.search.latency_batch
    pool, seconds = wiring.named("config.search.latencies", _read, path, batch, outline.space)
    features_of = SPACES[config.space.name].features
    cost_of = wiring.make_cost(config, outline, image_shape)
    features = lambda pool: np.column_stack([features_of(outline, pool), cost_of(pool).macs])
    model = LatencyModel(features(pool), seconds)
    known = dict(zip(outline.space.keys(pool), seconds, strict=True))

    def predict(pool):
        keys = outline.space.keys(pool)
        return np.array(
            [known.get(*pair) for pair in zip(keys, model(features(pool)), strict=True)]
        )

    return Latencies(predict, model, pool, seconds)


def _read(path, batch, space):
    """Pool and median seconds of a table's lines at a batch size."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    pool, seconds, batches = [], [], set()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            architecture = space.parse(row["arch"])
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
        known = ", ".join(map(str, sorted(batches, key=str))) or "none"
        raise ValueError(
            f"{path} has no latency at config.search.latency_batch={batch}; it has {known}"
        )
    return np.array(pool, np.int32), np.array(seconds)


def check(config, outline):
    """Raises UsageError where a limit and its table do not go together; reads the table."""
    search = config.search
    if (search.max_latency is None) != (not search.latencies):
        raise UsageError(
            "config.search.max_latency and config.search.latencies go together: a limit in "
            "seconds, and a table that launch.inspect --latency has printed"
        )
    if search.latencies:
        wiring.named(
            "config.search.latencies", _read, search.latencies, search.latency_batch, outline.space
        )
