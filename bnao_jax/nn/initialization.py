"""Initial weights by fan-in, ones for scales, zeros for offsets.

Weights are He-normal (He et al., "Delving Deep into Rectifiers", 2015,
https://arxiv.org/abs/1502.01852), or, where the outermost module's attribute `initialization` is
`UNIFORM`, uniform within 1 / sqrt(fan-in), as PyTorch's convolutions are by default; where it is
`OWN`, the module's initialisers are used. Else one rule reads the distribution off a parameter's
name and shape, so that a whole network can be drawn at once: compiling a random draw for each of
hundreds of leaves takes longer than compiling the network.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

NORMAL, UNIFORM, OWN = "he_normal", "uniform", "own"


def _fan_in(name, shape):
    """Inputs of one output; axes before those named are copies."""
    if "depthwise" in name:  # [..., C, K, K]
        return math.prod(shape[-2:])
    if "kernel" in name:  # [..., out, in, K, K]
        return math.prod(shape[-3:])
    return shape[-1]  # [..., out, in]; of what is summed each part counts by itself


def _constant(name):
    """The initial value of a scale or an offset, None for weights."""
    return 1.0 if name.endswith("scale") else 0.0 if name.endswith("offset") else None


def matrices(params):
    """Which parameters are weights, not scales or offsets: a tree like `params` of bool."""
    return jax.tree_util.tree_map_with_path(lambda p, _: _constant(p[-1].key) is None, params)


def _draw(scheme, key, shape):
    """Numbers of mean 0, to be multiplied by `_width`."""
    if scheme == UNIFORM:
        return jax.random.uniform(key, shape, minval=-1.0)
    return jax.random.normal(key, shape)


def _width(scheme, name, shape):
    return math.sqrt((1 if scheme == UNIFORM else 2) / _fan_in(name, shape))


def _scheme(module):
    """How the outermost module above wants its weights."""
    while isinstance(module.parent, nn.Module):
        module = module.parent
    return getattr(module, "initialization", NORMAL)


def parameter(module, name, *shape):
    """Declares the float32 parameter `name` of a linen module."""

    def init(key, shape):
        if (value := _constant(name)) is not None:
            return jnp.full(shape, value)
        scheme = _scheme(module)
        return _draw(scheme, key, shape) * _width(scheme, name, shape)

    return module.param(name, init, shape)


def initialize(module, key, *args):
    """The "params" of `module.init(key, *args)`, equal in distribution, without compiling it.

    All modules below must declare their parameters by `parameter`, or the scheme is `OWN`.
    """
    if _scheme(module) == OWN:
        return jax.jit(module.init)(key, *args)["params"]
    shapes = jax.eval_shape(lambda key: module.init(key, *args), key)["params"]
    leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
    total = sum(leaf.size for _, leaf in leaves)
    scheme = _scheme(module)
    drawn, values, at = np.asarray(_draw(scheme, key, (total,))), [], 0
    for path, leaf in leaves:
        name = path[-1].key
        if (value := _constant(name)) is not None:
            values.append(np.full(leaf.shape, value, np.float32))
            continue
        width = np.float32(_width(scheme, name, leaf.shape))
        values.append(width * drawn[at : at + leaf.size].reshape(leaf.shape))
        at += leaf.size
    return jax.tree.map(jnp.asarray, jax.tree_util.tree_unflatten(structure, values))


def overlay(params, offered):
    """(`params` with the leaves of `offered` of equal path and shape, how many numbers they hold).

    Both are nested dicts; other leaves of `offered` are ignored.
    """
    taken = 0

    def take(path, leaf):
        nonlocal taken
        value = offered
        for key in path:
            value = value.get(key.key, {}) if isinstance(value, dict) else {}
        if np.shape(value) != leaf.shape or isinstance(value, dict):
            return leaf
        taken += leaf.size
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(take, params), taken
