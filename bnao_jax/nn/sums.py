"""Sums: several in one pass over the maps `[C, H, W, B]`, and means over devices."""

import jax
import jax.numpy as jnp
from jax import lax

AXES = (1, 2, 3)


def wide(dtype):
    """The type of sums over values of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def joint_sums(arrays):
    """Sums each `[C, H, W, B]` over H, W, B in one pass: `[C, len(arrays)]`, at least float32."""
    dtype = wide(arrays[0].dtype)
    arrays = [a.astype(dtype) for a in arrays]
    zeros = [jnp.zeros((), dtype)] * len(arrays)
    add = lambda a, b: [p + q for p, q in zip(a, b, strict=True)]
    return jnp.stack(lax.reduce(arrays, zeros, add, AXES), 1)


def mean_over_devices(tree, axis_name):
    """Mean of every leaf over the devices of `axis_name`, the same bits on each.

    On a CPU the devices are added in their order, so that the result does not depend on which of
    them share a process, as that of an all-reduce does. Elsewhere it is the platform's all-reduce.
    """
    if lax.axis_size(axis_name) == 1:
        return tree
    in_order = lambda x: jnp.mean(lax.all_gather(x, axis_name), 0)
    mean = lambda x: lax.platform_dependent(
        x, cpu=in_order, default=lambda x: lax.pmean(x, axis_name)
    )
    return jax.tree.map(mean, tree)
