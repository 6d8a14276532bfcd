"""The supernet's update rules as optax transformations.

Weights off the sampled path have zero gradients, yet plain SGD would still move them, by weight
decay and by old momentum. The transformations here take a tree of masks, `mask`, as an extra
argument of `update` (bool, broadcast against the leaf); where it is false the weight and its
momentum stay as they are. `mask=None` is plain SGD.

Jeon et al., "Subnet-Aware Dynamic Supernet Training for Neural Architecture Search", CVPR 2025,
https://arxiv.org/abs/2503.10740, lets the rate decay by the complexity of the path
(`complexity_aware`) and gives each group of paths a momentum of its own (`separated_momentum`).

>>> rule = optax.chain(separated_momentum(0.9, groups=2), complexity_aware(1_000), descend())
>>> weights = {"w": jnp.ones(3)}
>>> exponents = complexity_exponents([10_000, 40_000])  # of the parameters of each path
>>> of_path = dict(group=1, exponents=exponents[0], learning_rate=0.1)
>>> updates, state = rule.update({"w": jnp.ones(3)}, rule.init(weights), weights, **of_path)
>>> [round(float(weight), 3) for weight in optax.apply_updates(weights, updates)["w"]]
[0.9, 0.9, 0.9]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


def _masked(mask, new, old):
    if mask is None:
        return new
    return jax.tree.map(jnp.where, mask, new, old)


def decay_weights(weight_decay, decayed=None):
    """Adds `weight_decay` times the weight to the gradient of every weight under the mask.

    `decayed` is a function of the tree of weights to one of bool, which of them decay; None: all.
    """

    def update(updates, state, params, *, mask=None, **extra):
        which = jax.tree.map(lambda w: True, params) if decayed is None else decayed(params)
        decay = lambda g, w, decays: g + weight_decay * w if decays else g
        return _masked(mask, jax.tree.map(decay, updates, params, which), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def momentum(decay, *, nesterov=False):
    """Accumulates `trace = gradient + decay * trace` under the mask; updates are zero elsewhere."""

    def init(params):
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, mask=None, **extra):
        trace = jax.tree.map(lambda g, t: g + decay * t, updates, state.trace)
        steps = jax.tree.map(lambda g, t: g + decay * t, updates, trace) if nesterov else trace
        zeros = jax.tree.map(jnp.zeros_like, updates)
        return _masked(mask, steps, zeros), optax.TraceState(_masked(mask, trace, state.trace))

    return optax.GradientTransformationExtraArgs(init, update)


def separated_momentum(decay, groups, *, nesterov=False):
    """As `momentum`, with a trace for each of so many groups of paths.

    `update` takes `group`, a possibly traced integer: the group of the path trained, whose trace
    alone is read and written. With one group it is `momentum`.
    """
    one = momentum(decay, nesterov=nesterov)

    def init(params):
        room = lambda leaf: jnp.zeros((groups, *leaf.shape), leaf.dtype)
        return optax.TraceState(jax.tree.map(room, params))

    def update(updates, state, params=None, *, group, mask=None, **extra):
        own = optax.TraceState(jax.tree.map(lambda traces: traces[group], state.trace))
        updates, own = one.update(updates, own, params, mask=mask)
        put = lambda traces, trace: traces.at[group].set(trace)
        return updates, optax.TraceState(jax.tree.map(put, state.trace, own.trace))

    return optax.GradientTransformationExtraArgs(init, update)


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


class StepState(NamedTuple):
    """How many updates there have been."""

    step: jax.Array


def complexity_aware(total_steps):
    """Multiplies updates by (1 - t/T)^exponent, t being the number of updates before.

    `update` takes `exponents`, a scalar or an array, and `shares`, whose sum is 1: with several the
    mean of the powers, weighted by the shares (None: all equal). One path's exponent is CaLR; those
    of all paths, with the shares they are drawn with, make the control with the same mean rate.
    """

    def update(updates, state, params=None, *, exponents, shares=None, **extra):
        powers = complexity_factors(state.step / total_steps, exponents)
        factor = jnp.mean(powers) if shares is None else jnp.sum(shares * powers)
        return jax.tree.map(lambda u: factor * u, updates), StepState(state.step + 1)

    return optax.GradientTransformationExtraArgs(
        lambda params: StepState(jnp.zeros((), jnp.int32)), update
    )


def descend():
    """Multiplies by minus the extra argument `learning_rate`, a possibly traced scalar."""

    def update(updates, state, params=None, *, learning_rate, **extra):
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def sgd(
    *,
    momentum_decay=0.9,
    weight_decay=0.0,
    decayed=None,
    clip=None,
    nesterov=False,
    groups=None,
    complexity_steps=None,
):
    """SGD in the order of the paper's recipe: clip the global norm, decay weights, momentum.

    `update(gradients, state, params, learning_rate=…, mask=…)`.

    Args:
      momentum_decay, nesterov: of the momentum.
      weight_decay: L2.
      decayed: which weights decay, see `decay_weights`.
      clip: global norm of the gradient, or None.
      groups: groups of paths with a momentum each, or None, see `separated_momentum`.
      complexity_steps: T of a rate that decays by complexity, or None, see `complexity_aware`.
    """
    if groups is None:
        inert = momentum(momentum_decay, nesterov=nesterov)
    else:
        inert = separated_momentum(momentum_decay, groups, nesterov=nesterov)
    return optax.chain(
        optax.identity() if clip is None else optax.clip_by_global_norm(clip),
        decay_weights(weight_decay, decayed),
        inert,
        optax.identity() if complexity_steps is None else complexity_aware(complexity_steps),
        descend(),
    )
