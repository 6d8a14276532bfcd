"""Which architecture of the pool trains next; pure jnp, for use inside a compiled step.

A rule turns what is known of a pool of P architectures into log weights float32[P]; a draw turns
log weights and a key into an index. Padding (size 0, stratum -1) is never drawn, so that pools of
different sizes can share one compiled program.

>>> sizes = jnp.array([100.0, 200.0, 700.0, 0.0])  # the last is padding
>>> weights = proportional(sizes)  # once per pool
>>> key, step = jax.random.key(0), 5
>>> int(draw(jax.random.fold_in(key, step), weights)) in (0, 1, 2)  # every step
True
>>> [round(float(count)) for count in expected_counts(weights, steps=1_000)]
[100, 200, 700, 0]

Strict fairness draws several architectures a step, of the whole space and not of a pool.
"""

import jax
import jax.numpy as jnp
import numpy as np

RULES = ("proportional", "uniform", "stratified", "strictly_fair")


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


def strictly_fair(key, options, shared=None):
    """Draws K architectures int32[K, D] that take, at every decision, each of K options once.

    Chu, Zhang, Xu, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search", 2019, https://arxiv.org/abs/1907.01845.

    Args:
      key: random key, consumed.
      options: K at each of the D decisions.
      shared: a decision at which all K take the same option, drawn with equal probabilities, as
        `optimizer.separated_momentum` needs it; or None.

    Raises:
      ValueError: the decisions have different numbers of options.
    """
    if len(set(options)) > 1:
        raise ValueError(f"strict fairness needs as many options at every decision, not {options}")
    every = jnp.broadcast_to(
        jnp.arange(options[0], dtype=jnp.int32)[:, None], (*options[:1], len(options))
    )
    drawn = jax.random.permutation(key, every, independent=True)
    return drawn if shared is None else drawn.at[:, shared].set(drawn[0, shared])


def numbers(pool, options):
    """The place int[P] of each architecture [P, D] in a list of all, the last decision fastest."""
    return pool @ np.cumprod((1, *options[:0:-1]), dtype=np.int32)[::-1]
