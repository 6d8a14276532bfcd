"""What the architectures of a space cost, by sampling."""

import jax
import numpy as np

QUANTILES = {"smallest": 0.0, "median": 0.5, "largest": 1.0}


def sampled(space, size) -> np.ndarray:
    """Random architectures int32[size, D], each option equally likely; some may be equal."""
    return np.asarray(space.random(jax.random.key(0), size))


def share_within(pool, accept) -> float:
    """The share of a pool that `accept(pool) -> bool[P]` takes."""
    return float(np.mean(accept(pool)))


def spread(found) -> dict[str, list[int]]:
    """The `QUANTILES` of parameters and multiply-adds of a `Cost`, each one that occurs."""
    at = list(QUANTILES.values())
    of = lambda values: np.quantile(values, at, method="nearest").tolist()
    return {"parameters": of(found.params), "multiply-adds": of(found.macs)}
