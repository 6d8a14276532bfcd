"""Which architecture of the pool trains next; pure jnp, for use inside a compiled step.

A rule turns the sizes float[P] of a pool into log weights float32[P]; a draw turns log weights and
a key into an index. Rows of size 0 are padding and are never drawn, so that pools of different
sizes can share one compiled program.

Example::

    weights = RULES["proportional"](params)       # once per pool
    index = draw(jax.random.fold_in(key, step), weights)  # every step
"""

import jax
import jax.numpy as jnp


def proportional(sizes):
    """Log weights of P(x_i) = size_i / sum_j size_j.

    Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020, Eq. 3,
    https://arxiv.org/abs/1909.10815.
    """
    return jnp.log(jnp.asarray(sizes, jnp.float32))


def uniform(sizes):
    """Log weights of equal probabilities: plain weight sharing, NAO-WS."""
    return jnp.where(jnp.asarray(sizes) > 0, 0.0, -jnp.inf).astype(jnp.float32)


RULES = {"proportional": proportional, "uniform": uniform}


def draw(key, log_weights, shape=()):
    """Draws indices int32[*shape] with probability proportional to exp(log_weights) [P]."""
    return jax.random.categorical(key, log_weights, shape=shape).astype(jnp.int32)


def expected_counts(log_weights, steps):
    """Expected number of steps that train each architecture: float32[P] (Eq. 4)."""
    return steps * jax.nn.softmax(log_weights)
