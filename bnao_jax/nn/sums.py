"""Several sums in one pass over the maps `[C, H, W, B]`."""

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
