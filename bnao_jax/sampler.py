"""Which architecture of the pool trains next; pure jnp, for use inside a compiled step.

A rule turns what is known of a pool of P architectures into log weights float32[P]; a draw turns
log weights and a key into an index. Padding (size 0, stratum -1) is never drawn, so that pools of
different sizes can share one compiled program.

Example::

    weights = proportional(params)                        # once per pool
    index = draw(jax.random.fold_in(key, step), weights)  # every step
"""

import jax
import jax.numpy as jnp

RULES = ("proportional", "uniform", "stratified")


def proportional(sizes, exponent=1.0):
    """Log weights of P(x_i) = size_i^exponent / sum_j size_j^exponent.

    With exponent 1, Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
    Eq. 3, https://arxiv.org/abs/1909.10815; with exponent 0, uniform.
    """
    sizes = jnp.asarray(sizes, jnp.float32)
    real = sizes > 0
    return jnp.where(real, exponent * jnp.log(jnp.where(real, sizes, 1.0)), -jnp.inf)


def uniform(sizes):
    """Log weights of equal probabilities: plain weight sharing, NAO-WS."""
    return proportional(sizes, 0.0)


def stratified(strata):
    """Log weights of equal probabilities of the strata int[P] that occur, and within each."""
    strata = jnp.asarray(strata, jnp.int32)
    own = jnp.zeros(strata.shape[0] + 1, jnp.int32).at[strata].add(1)[strata]
    return jnp.where(strata >= 0, -jnp.log(own.astype(jnp.float32)), -jnp.inf)


def draw(key, log_weights, shape=()):
    """Draws indices int32[*shape] with probability proportional to exp(log_weights) [P]."""
    return jax.random.categorical(key, log_weights, shape=shape).astype(jnp.int32)


def expected_counts(log_weights, steps):
    """Expected number of steps that train each architecture: float32[P] (Eq. 4)."""
    return steps * jax.nn.softmax(log_weights)
