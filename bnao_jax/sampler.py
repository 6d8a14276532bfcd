"""Which architectures the next step trains; pure jnp, inside a compiled step.

A `Sampler` is two functions. `prepare` turns what is known of a pool of P architectures into
arrays, once a pool; `draw` turns them and a key into the `Paths` of a step. The pool may be padded
(costs of 0): padding is never drawn, so that pools of different sizes share one compiled program.

>>> pool, params = jnp.arange(4)[:, None], jnp.array([100.0, 200.0, 700.0, 0.0])  # 1 of padding
>>> sampler = proportional()
>>> prepared = sampler.prepare(pool, params)  # once a pool
>>> paths = sampler.draw(jax.random.fold_in(jax.random.key(0), 5), prepared)  # every step
>>> int(paths.rows[0]) in (0, 1, 2)
True
>>> [round(float(count)) for count in expected_counts(prepared.log_weights, steps=1_000)]
[100, 200, 700, 0]

A sampler of one's own is such a pair; no registry knows the names of them.

Shapes: P rows of the padded pool, D decisions, K paths of a step.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Those that draw from the whole space and not from a pool.
WHOLE_SPACE = ("strictly_fair", "whole_space", "constrained")
NAMES = ("proportional", "uniform", "stratified", *WHOLE_SPACE)


class Paths(NamedTuple):
    """What a step trains. All paths see the same images; their gradients are added.

    Attributes:
      architectures: int32[K, D].
      rows: int32[K], where they are in the pool; P where they are not.
    """

    architectures: jax.Array
    rows: jax.Array


class Prepared(NamedTuple):
    """A pool, prepared for drawing.

    Attributes:
      pool: int32[P, D].
      log_weights: float32[P], of the probabilities of the rows; -inf for padding.
      extra: whatever else `draw` needs.
    """

    pool: jax.Array
    log_weights: jax.Array
    extra: Any = ()


class Sampler(NamedTuple):
    """How paths are drawn.

    Attributes:
      name: what reports call it.
      prepare: `prepare(pool int32[P, D], costs float64[P]) -> Prepared`, on the host. Padding has
        the cost 0; the costs are the parameters of networks alone.
      draw: `draw(key, prepared) -> Paths`, pure; the key is consumed.
    """

    name: str
    prepare: Callable[..., Prepared]
    draw: Callable[..., Paths]


def _of_pool(name, log_weights_of) -> Sampler:
    """One path a step, an architecture of the pool."""

    def prepare(pool, costs):
        return Prepared(np.asarray(pool, np.int32), log_weights_of(pool, costs))

    def draw(key, prepared):
        rows = draw_row(key, prepared.log_weights, (1,))
        return Paths(jnp.asarray(prepared.pool)[rows], rows)

    return Sampler(name, prepare, draw)


def proportional(exponent=1.0) -> Sampler:
    """Draws in proportion to size ** exponent: Balanced NAO's sampler.

    Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020, Eq. 3,
    https://arxiv.org/abs/1909.10815.
    """
    log_weights_of = lambda pool, costs: log_proportional(costs, exponent)
    return _of_pool("proportional", log_weights_of)


def uniform() -> Sampler:
    """Draws all of the pool equally likely: plain weight sharing, NAO-WS."""
    return _of_pool("uniform", lambda pool, costs: log_proportional(costs, 0.0))


def stratified(strata_of) -> Sampler:
    """Draws a stratum, all equally likely, and within it an architecture.

    `strata_of(pool [P, D]) -> int[P]` from 0.
    """

    def log_weights_of(pool, costs):
        return log_stratified(np.where(np.asarray(costs) > 0, strata_of(np.asarray(pool)), -1))

    return _of_pool("stratified", log_weights_of)


def anywhere(name, draw_architecture) -> Sampler:
    """One path a step, `draw_architecture(key) -> int32[D]`, in the pool or not."""

    def prepare(pool, costs):
        return Prepared(np.asarray(pool, np.int32), log_proportional(costs, 0.0))

    def draw(key, prepared):
        architecture = draw_architecture(key)[None]
        same = (prepared.pool == architecture).all(1) & (prepared.log_weights > -jnp.inf)
        row = jnp.where(same.any(), jnp.argmax(same), len(same))
        return Paths(architecture, row[None])

    return Sampler(name, prepare, draw)


def whole_space(options) -> Sampler:
    """Draws from the whole space, each of the `options` of each decision equally likely."""
    return anywhere("whole_space", functools.partial(of_space, options=options))


def constrained(options, cost, *, least, most, step) -> Sampler:
    """Draws from the whole space within limits of the cost; see `within`."""
    draw = functools.partial(of_space, options=options)
    limits = dict(least=least, most=most, step=step)
    return anywhere("constrained", lambda key: within(key, draw, cost, **limits))


def strictly_fair(options, shared=None) -> Sampler:
    """K paths a step that take each of the K options of every decision once; see `draw_fairly`.

    The pool has to be the whole space.
    """

    def prepare(pool, costs):
        pool, real, everything = np.asarray(pool, np.int32), np.asarray(costs) > 0, np.prod(options)
        order = np.where(real, numbers(pool, options), everything)  # padding comes last
        if not np.array_equal(np.unique(order[real]), np.arange(everything)):
            raise ValueError(
                f"strict fairness trains the whole space of {everything} architectures; the pool "
                f"holds {len(np.unique(order[real]))} of them"
            )
        places = np.argsort(order, kind="stable").astype(np.int32)
        return Prepared(pool, log_proportional(costs, 0.0), places)

    def draw(key, prepared):
        architectures = draw_fairly(key, options, shared)
        return Paths(architectures, jnp.asarray(prepared.extra)[numbers(architectures, options)])

    return Sampler("strictly_fair", prepare, draw)


# What the samplers are made of.


def log_proportional(sizes, exponent=1.0):
    """Log weights of P(x_i) = size_i^exponent / sum_j size_j^exponent.

    With exponent 1, Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
    Eq. 3, https://arxiv.org/abs/1909.10815; with exponent 0, uniform.
    """
    sizes = jnp.asarray(sizes, jnp.float32)
    real = sizes > 0
    return jnp.where(real, exponent * jnp.log(jnp.where(real, sizes, 1.0)), -jnp.inf)


def log_stratified(strata):
    """Log weights of equal probabilities of the strata int[P] that occur, and within each."""
    strata = jnp.asarray(strata, jnp.int32)
    sizes = jnp.zeros(strata.shape[0] + 1, jnp.int32).at[strata].add(1)[strata]
    return jnp.where(strata >= 0, -jnp.log(sizes.astype(jnp.float32)), -jnp.inf)


def draw_row(key, log_weights, shape=()):
    """Draws indices int32[*shape] with probability proportional to exp(log_weights) [P]."""
    return jax.random.categorical(key, log_weights, shape=shape).astype(jnp.int32)


def expected_counts(log_weights, steps):
    """Expected number of steps that train each architecture: float32[P] (Eq. 4)."""
    return steps * jax.nn.softmax(log_weights)


def option_shares(counts, pool, options):
    """How the training is divided among the options of each decision: D arrays [options of it].

    Args:
      counts: how often each architecture trains, [P]: counted or `expected_counts`.
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
        distant = distance(drawn)
        return number + 1, jnp.where(distant < off, drawn, best), jnp.minimum(distant, off)

    first = draw(jax.random.fold_in(key, 0))
    wanted = lambda carry: (carry[0] < tries) & (carry[2] > 0)
    return lax.while_loop(wanted, next_try, (1, first, distance(first)))[1]


def draw_fairly(key, options, shared=None):
    """Draws K architectures int32[K, D] that take, at every decision, each of K options once.

    Chu, Zhang, Xu, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search", 2019, https://arxiv.org/abs/1907.01845.

    Args:
      key: random key, consumed.
      options: K at each of the D decisions.
      shared: a decision at which all K take the same option, drawn with equal probabilities, as
        `rates_and_momenta.separate_momentum` needs it; or None.

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
