"""What the architectures of a space cost, by sampling."""

import jax
import numpy as np


def sampled(space, key, size) -> np.ndarray:
    """Random architectures int32[size, D], each option equally likely; some may be equal."""
    return np.asarray(space.random(key, size))


def share_within(space, key, size, accept) -> float:
    """The share of random architectures that `accept(pool) -> bool[P]` takes."""
    return float(np.mean(accept(sampled(space, key, size))))


def spread(space, cost_of, key, size) -> dict:
    """Least, median and greatest cost of random architectures, as dicts from params and macs."""
    found = cost_of(sampled(space, key, size))
    return {
        name: [int(value) for value in np.quantile(getattr(found, name), (0, 0.5, 1))]
        for name in ("params", "macs")
    }


def key_of(config):
    """The random key of samples: that of the seed, apart from the search's own draws."""
    return jax.random.fold_in(jax.random.key(config.seed), 1)
