"""What a step's paths tell the optimizer: rates by complexity, momenta by group.

Jeon et al., "Subnet-Aware Dynamic Supernet Training for Neural Architecture Search", CVPR 2025,
https://arxiv.org/abs/2503.10740.

A rule is two functions, as a sampler is. `prepare` turns what is known of a pool into arrays, once
a pool; `tell` gives the extra arguments of the optimizer's `update` for the paths of a step. One
argument is the step's own: `loss_weights` float32[K], of the paths' losses.

Shapes: P rows of the padded pool, K paths of a step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class PathRule(NamedTuple):
    """A rule.

    Attributes:
      prepare: `prepare(prepared, costs float64[P]) -> arrays`; `prepared` is the sampler's.
      tell: `tell(arrays, paths, passed) -> dict`; `passed` is the share of the steps done, 0..1.
    """

    prepare: Callable[..., Any]
    tell: Callable[..., dict]


def complexity_exponents(complexities, *, least=0.25, most=4.0):
    """The exponent of each path's rate: `most` for the simplest, `least` for the most complex.

    gamma = omega ln C + tau; `complexities` float[P], positive; returns float32[P]. Where all are
    equal, the exponent is `least`.
    """
    logs = np.log(np.asarray(complexities, np.float64))
    spread = logs.max() - logs.min()
    omega = -(most - least) / spread if spread > 0 else 0.0
    tau = least - omega * logs.max()
    return (omega * logs + tau).astype(np.float32)


def complexity_factors(passed, exponents):
    """(1 - passed)^exponent, CaLR's factor of the rate after a share `passed` of the steps."""
    return jnp.power(jnp.maximum(1 - passed, 0.0), jnp.asarray(exponents))


def _exponents(costs, least, most):
    """The exponents of a padded pool; 0 in the padding."""
    costs = np.asarray(costs)
    exponents = np.zeros(len(costs), np.float32)
    real = costs > 0
    exponents[real] = complexity_exponents(costs[real], least=least, most=most)
    return exponents


def complexity_rate(least=0.25, most=4.0) -> PathRule:
    """CaLR: the rate is multiplied by (1 - t/T) to a power that falls with the path's size."""

    def prepare(prepared, costs):
        del prepared
        return _exponents(costs, least, most)

    def tell(exponents, paths, passed):
        return {"factor": complexity_factors(passed, exponents[paths.rows][0])}

    return PathRule(prepare, tell)


def mean_complexity_rate(least=0.25, most=4.0) -> PathRule:
    """The control of CaLR with the same mean rate: all paths have the mean of all factors."""

    def prepare(prepared, costs):
        return _exponents(costs, least, most), prepared.log_weights

    def tell(arrays, paths, passed):
        exponents, log_weights = arrays
        shares = jax.nn.softmax(log_weights)
        return {"factor": jnp.sum(shares * complexity_factors(passed, exponents))}

    return PathRule(prepare, tell)


def complexity_losses(least=0.25, most=4.0) -> PathRule:
    """CaLR where a step has several paths: the factor weights the loss of each."""

    def prepare(prepared, costs):
        del prepared
        return _exponents(costs, least, most)

    def tell(exponents, paths, passed):
        return {"loss_weights": complexity_factors(passed, exponents[paths.rows])}

    return PathRule(prepare, tell)


def separate_momentum(decision) -> PathRule:
    """Momentum separation: the paths' option at one decision is their group.

    See `optimizer.separated_momentum`; all paths of a step have to take the same option there.
    """

    def tell(arrays, paths, passed):
        del arrays, passed
        return {"group": paths.architectures[0, decision]}

    return PathRule(lambda prepared, costs: (), tell)
