"""The supernet's update rules as optax transformations.

Weights off the sampled path have zero gradients, yet plain SGD would still move them, by weight
decay and by old momentum. The transformations here take a tree of masks, `mask`, as an extra
argument of `update` (bool, broadcast against the leaf); where it is false the weight and its
momentum stay as they are. `mask=None` is plain SGD.

Jeon et al., "Subnet-Aware Dynamic Supernet Training for Neural Architecture Search", CVPR 2025,
https://arxiv.org/abs/2503.10740, lets the rate decay by the complexity of the path
(`scale`) and gives each group of paths a momentum of its own (`separated_momentum`); see
`rates_and_momenta`.

>>> rule = optax.chain(separated_momentum(0.9, groups=2), scale(), descend())
>>> weights = {"w": jnp.ones(3)}
>>> of_path = dict(group=1, factor=0.5, learning_rate=0.1)
>>> updates, state = rule.update({"w": jnp.ones(3)}, rule.init(weights), weights, **of_path)
>>> [round(float(weight), 3) for weight in optax.apply_updates(weights, updates)["w"]]
[0.95, 0.95, 0.95]
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax


def _masked(mask, new, old):
    if mask is None:
        return new
    return jax.tree.map(jnp.where, mask, new, old)


def _sum_of_squares(leaves):
    return sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)


def _sum_of_squares_at_once(leaves):
    return jnp.sum(jnp.square(jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])))


def clip_norm(longest):
    """Scales updates whose global norm is above `longest` down to it.

    As `optax.clip_by_global_norm`; on CUDA one sum runs over all leaves, where a kernel for each of
    a hundred would take longer.
    """

    def update(updates, state, params=None, **extra):
        leaves = jax.tree.leaves(updates)
        forms = {"cuda": _sum_of_squares_at_once, "default": _sum_of_squares}
        norm = jnp.sqrt(lax.platform_dependent(leaves, **forms))
        factor = jnp.where(norm < longest, 1.0, longest / norm)
        return jax.tree.map(lambda u: (factor * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


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
        trace = optax.TraceState(jax.tree.map(lambda traces: traces[group], state.trace))
        updates, trace = one.update(updates, trace, params, mask=mask)
        put = lambda traces, trace: traces.at[group].set(trace)
        return updates, optax.TraceState(jax.tree.map(put, state.trace, trace.trace))

    return optax.GradientTransformationExtraArgs(init, update)


def scale():
    """Multiplies by the extra argument `factor`, a possibly traced scalar; without it by 1."""

    def update(updates, state, params=None, *, factor=None, **extra):
        if factor is None:
            return updates, state
        return jax.tree.map(lambda u: factor * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


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
):
    """SGD in the order of the paper's recipe: clip the global norm, decay weights, momentum.

    `update(gradients, state, params, learning_rate=…, mask=…, group=…, factor=…)`.

    Args:
      momentum_decay, nesterov: of the momentum.
      weight_decay: L2.
      decayed: which weights decay, see `decay_weights`.
      clip: global norm of the gradient, or None.
      groups: groups of paths with a momentum each, or None, see `separated_momentum`.
    """
    if groups is None:
        inert = momentum(momentum_decay, nesterov=nesterov)
    else:
        inert = separated_momentum(momentum_decay, groups, nesterov=nesterov)
    return optax.chain(
        optax.identity() if clip is None else clip_norm(clip),
        decay_weights(weight_decay, decayed),
        inert,
        scale(),
        descend(),
    )
