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

Some rules draw of the whole space and not of a pool: strict fairness several architectures a step,
`of_space` one with equal probabilities, `within` one whose cost lies within limits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WHOLE_SPACE = ("strictly_fair", "whole_space", "constrained")
RULES = ("proportional", "uniform", "stratified", *WHOLE_SPACE)


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


def option_shares(counts, pool, options):
    """How the training is divided among the options of each decision: D arrays [options of it].

    Args:
      counts: how often each architecture trains, [P]: found ones or `expected_counts`.
      pool: int32[P, D].
      options: how many each of the D decisions has.
    """
    counts = jnp.asarray(counts, jnp.float32)
    shares, pool = counts / counts.sum(), jnp.asarray(pool)
    return [jnp.zeros(n).at[pool[:, at]].add(shares) for at, n in enumerate(options)]


def of_space(key, options):
    """Draws an architecture int32[D], each of the options at each decision equally likely."""
    return jax.random.randint(key, (len(options),), 0, jnp.array(options, jnp.int32))


def within(key, draw, cost, *, least, most, step, tries=1_000):
    """Draws an architecture int32[D] whose cost lies in one of the intervals of limits.

    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019,
    https://arxiv.org/abs/1904.00420: an interval is drawn, all equally likely, then architectures
    until one falls in it. After so many `tries` it is the one that came nearest.

    Args:
      key: random key, consumed.
      draw: function of a key to an architecture.
      cost: function of an architecture to its cost.
      least, most, step: the limits, and the width of the intervals between them, which divides
        their distance.
      tries: architectures drawn at most.
    """
    interval_key, key = jax.random.split(key)
    interval = jax.random.randint(interval_key, (), 0, round((most - least) / step))
    low = float(least) + float(step) * interval.astype(jnp.float32)

    def distance(architecture):
        return jnp.maximum(jnp.abs(cost(architecture) - low - step / 2) - step / 2, 0.0)

    def next_try(carry):
        number, best, off = carry
        drawn = draw(jax.random.fold_in(key, number))
        found = distance(drawn)
        return number + 1, jnp.where(found < off, drawn, best), jnp.minimum(found, off)

    first = draw(jax.random.fold_in(key, 0))
    wanted = lambda carry: (carry[0] < tries) & (carry[2] > 0)
    return lax.while_loop(wanted, next_try, (1, first, distance(first)))[1]


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
