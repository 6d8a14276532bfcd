"""Initial weights: He-normal by fan-in, ones for scales, zeros for offsets.

He et al., "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852. One rule reads
the distribution off a parameter's name and shape, so that a whole network can be drawn at once:
compiling a random draw for each of hundreds of leaves takes longer than compiling the network.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def _fan_in(name, shape):
    """Inputs of one output; axes before those named are copies."""
    if "depthwise" in name:  # [..., C, K, K]
        return math.prod(shape[-2:])
    if "kernel" in name:  # [..., out, in, K, K]
        return math.prod(shape[-3:])
    if "combine" in name:  # [..., S, out, in], summed over S
        return shape[-3] * shape[-1]
    return shape[-1]  # [..., out, in]


def _constant(name):
    """The initial value of a scale or an offset, None for weights."""
    return 1.0 if name.endswith("scale") else 0.0 if name.endswith("offset") else None


def matrices(params):
    """Which parameters are weights, not scales or offsets: a tree like `params` of bool."""
    return jax.tree_util.tree_map_with_path(lambda p, _: _constant(p[-1].key) is None, params)


def parameter(module, name, *shape):
    """Declares the float32 parameter `name` of a linen module."""

    def init(key, shape):
        if (value := _constant(name)) is not None:
            return jnp.full(shape, value)
        return jax.random.normal(key, shape) * math.sqrt(2 / _fan_in(name, shape))

    return module.param(name, init, shape)


def initialize(module, key, *args):
    """The "params" of `module.init(key, *args)`, equal in distribution, without compiling it.

    All modules below must declare their parameters by `parameter`.
    """
    shapes = jax.eval_shape(lambda key: module.init(key, *args), key)["params"]
    leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
    total = sum(leaf.size for _, leaf in leaves)
    normal, values, at = np.asarray(jax.random.normal(key, (total,))), [], 0
    for path, leaf in leaves:
        name = path[-1].key
        if (value := _constant(name)) is not None:
            values.append(np.full(leaf.shape, value, np.float32))
            continue
        deviation = np.float32(math.sqrt(2 / _fan_in(name, leaf.shape)))
        values.append(deviation * normal[at : at + leaf.size].reshape(leaf.shape))
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
