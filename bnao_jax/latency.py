"""How long networks take, measured on the present device, and predicted for others of the space.

Shapes: P architectures, F features of an architecture, such as how often it has each operation.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax.nn.initialization import initialize

WARM = 3  # runs before the clock counts
RIDGE = 1e-3  # weight of the penalty, for standardised features


def measure(network, image_shape, batch, *, repeats=20, dtype=jnp.float32) -> np.ndarray:
    """Seconds of each of `repeats` runs of a compiled network on `batch` images: float64[repeats].

    Random weights, stored statistics in the norms, warm; the images are on the device already.
    """
    images = jnp.zeros((batch, *image_shape), dtype)
    params = initialize(network, jax.random.key(0), images[:1])
    record = lambda images: network.apply({"params": params}, images, mutable=["batch_stats"])[1]
    shapes = jax.eval_shape(record, images)
    statistics = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes)
    run = jax.jit(lambda v, images: network.apply(v, images, given=True))
    variables = jax.device_put({"params": params, **statistics})
    seconds = []
    for _ in range(WARM + repeats):
        started = time.perf_counter()
        jax.block_until_ready(run(variables, images))
        seconds.append(time.perf_counter() - started)
    return np.array(seconds[WARM:])


class LatencyModel:
    """A linear model of an architecture's seconds, fitted to measured ones by ridge regression.

    Args:
      features: float64[P, F] of the measured architectures.
      seconds: float64[P].

    Attributes:
      error: median over the measured architectures of how far the prediction from the others is
        off, relative to the measured time; NaN with fewer than three.
    """

    def __init__(self, features, seconds):
        features, seconds = np.asarray(features, float), np.asarray(seconds, float)
        if len(features) != len(seconds) or not len(seconds):
            raise ValueError("as many features as seconds, at least one")
        self._center, spread = features.mean(0), features.std(0)
        self._scale = np.where(spread > 0, spread, np.inf)  # what never differs says nothing
        self._mean = seconds.mean()
        x, y = self._standardised(features), seconds - self._mean
        inverse = np.linalg.inv(x.T @ x + RIDGE * len(y) * np.eye(x.shape[1]))
        self._weights = inverse @ x.T @ y
        # Leaving one out: residuals over 1 minus leverage, the mean's included.
        leverage = np.einsum("pf,fg,pg->p", x, inverse, x) + 1 / len(y)
        left_out = (y - x @ self._weights) / np.maximum(1 - leverage, 1e-12)
        enough = len(y) > 2
        self.error = float(np.median(np.abs(left_out) / seconds)) if enough else float("nan")

    def __call__(self, features) -> np.ndarray:
        """Predicted seconds float64[P] of features [P, F]."""
        return self._mean + self._standardised(features) @ self._weights

    def _standardised(self, features):
        return (np.asarray(features, float) - self._center) / self._scale
