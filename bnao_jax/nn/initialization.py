"""Initial weights by fan-in, ones for scales, zeros for offsets.

Weights are He-normal (He et al., "Delving Deep into Rectifiers", 2015,
https://arxiv.org/abs/1502.01852), or, where the outermost module's attribute `initialization` is
`UNIFORM`, uniform within 1 / sqrt(fan-in), as PyTorch's convolutions are by default. One rule reads
the distribution off a parameter's name and shape, so that a whole network can be drawn at once:
compiling a random draw for each of hundreds of leaves takes longer than compiling the network.
Modules with initialisers of their own keep them.
"""

import contextvars
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import errors
from flax import linen as nn

NORMAL, UNIFORM = "he_normal", "uniform"
_DECLARED = contextvars.ContextVar("declared", default=None)  # schemes by the places of parameters


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
    scheme, declared = _scheme(module), _DECLARED.get()
    if declared is not None:
        declared[*module.path, name] = scheme

    def init(key, shape):
        if (value := _constant(name)) is not None:
            return jnp.full(shape, value)
        return _draw(scheme, key, shape) * _width(scheme, name, shape)

    return module.param(name, init, shape)


def initialize(module, key, *args):
    """The "params" of `module.init(key, *args)`, without compiling the module.

    They are equal in distribution where the modules below declare all parameters by `parameter`,
    else they are the same numbers.
    """
    is_array = [hasattr(arg, "shape") for arg in args]  # others are known, as in a call
    arrays = [arg for arg, traced in zip(args, is_array, strict=True) if traced]

    def put(arrays):
        left = iter(arrays)
        return [next(left) if traced else arg for arg, traced in zip(args, is_array, strict=True)]

    declared = {}
    token = _DECLARED.set(declared)
    try:
        shapes = jax.eval_shape(lambda key, arrays: module.init(key, *put(arrays)), key, arrays)
    finally:
        _DECLARED.reset(token)
    leaves, structure = jax.tree_util.tree_flatten_with_path(shapes["params"])
    schemes = [declared.get(tuple(key.key for key in path)) for path, _ in leaves]
    if None in schemes:
        return _own(lambda init, arrays: init(key, *put(arrays))["params"], module, arrays)
    total = sum(leaf.size for _, leaf in leaves)
    drawn = {scheme: np.asarray(_draw(scheme, key, (total,))) for scheme in {*schemes}}
    values, at = [], 0
    for (path, leaf), scheme in zip(leaves, schemes, strict=True):
        name = path[-1].key
        if (value := _constant(name)) is not None:
            values.append(np.full(leaf.shape, value, np.float32))
            continue
        width = np.float32(_width(scheme, name, leaf.shape))
        values.append(width * drawn[scheme][at : at + leaf.size].reshape(leaf.shape))
        at += leaf.size
    return jax.tree.map(jnp.asarray, jax.tree_util.tree_unflatten(structure, values))


def _own(call, module, arrays):
    """What the module's own initialisers draw, one by one; equal ones are compiled once."""
    try:
        return call(module.lazy_init, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays])
    except errors.LazyInitError:  # some look at the input
        return jax.jit(lambda arrays: call(module.init, arrays))(arrays)


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
