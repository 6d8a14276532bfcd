"""The supernet's update rules as optax transformations.

Weights off the sampled path have zero gradients, yet plain SGD would still move them, by weight
decay and by old momentum. The transformations here take a tree of masks, `mask`, as an extra
argument of `update` (bool, broadcast against the leaf); where it is false the weight and its
momentum stay as they are. `mask=None` is plain SGD.
"""

import jax
import jax.numpy as jnp
import optax


def _masked(mask, new, old):
    if mask is None:
        return new
    return jax.tree.map(jnp.where, mask, new, old)


def decay_weights(weight_decay):
    """Adds `weight_decay` times the weight to the gradient of every weight under the mask."""

    def update(updates, state, params, *, mask=None, **extra):
        decayed = jax.tree.map(lambda g, w: g + weight_decay * w, updates, params)
        return _masked(mask, decayed, updates), state

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


def descend():
    """Multiplies by minus the extra argument `learning_rate`, a possibly traced scalar."""

    def update(updates, state, params=None, *, learning_rate, **extra):
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def sgd(*, momentum_decay=0.9, weight_decay=0.0, clip=None, nesterov=False):
    """SGD in the order of the paper's recipe: clip the global norm, decay weights, momentum.

    `update(gradients, state, params, learning_rate=…, mask=…)`.
    """
    return optax.chain(
        optax.identity() if clip is None else optax.clip_by_global_norm(clip),
        decay_weights(weight_decay),
        momentum(momentum_decay, nesterov=nesterov),
        descend(),
    )
