"""Several sums in one pass over the maps `[C, H, W, B]`."""

import jax.numpy as jnp
from jax import lax

AXES = (1, 2, 3)
# XLA for CUDA gives every sum of a reduction its own tile of a block's shared memory (48 KiB), and
# does not compile what needs more: 6 sums of float32 fail where the channels are innermost.
MOST_AT_ONCE = 5


def wide(dtype):
    """The type of sums over values of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def joint_sums(arrays):
    """Sums each `[C, H, W, B]` over H, W, B in one pass: `[C, len(arrays)]`, at least float32.

    On CUDA one pass holds at most `MOST_AT_ONCE` of them.
    """
    dtype = wide(arrays[0].dtype)
    arrays = tuple(a.astype(dtype) for a in arrays)
    if len(arrays) <= MOST_AT_ONCE:
        return _sums(arrays)
    return lax.platform_dependent(arrays, cuda=_sums_in_groups, default=_sums)


def _sums(arrays):
    zeros = (jnp.zeros((), arrays[0].dtype),) * len(arrays)
    add = lambda a, b: tuple(p + q for p, q in zip(a, b, strict=True))
    return jnp.stack(lax.reduce(arrays, zeros, add, AXES), 1)


def _sums_in_groups(arrays):
    starts = range(0, len(arrays), MOST_AT_ONCE)
    return jnp.concatenate([_sums(arrays[n : n + MOST_AT_ONCE]) for n in starts], 1)
