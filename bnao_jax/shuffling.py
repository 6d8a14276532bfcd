"""The order of rows that are padded to a capacity."""

import jax
import jax.numpy as jnp


def shuffle(key, capacity, count):
    """int32[capacity]: the rows below `count` in random order, then the others.

    A row's sort key depends on (key, row) alone, so that more padding changes nothing.
    """
    row = jnp.arange(capacity)
    bits = jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row)))(row)
    return jnp.argsort(jnp.where(row < count, bits >> 1, jnp.uint32(1 << 31)))
