"""Rows of trees of stacked arrays `[N, E, …]`, by numbers that are known or traced."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bnao_jax.nn.static_or_traced import is_static


def starts(rows, dimensions):
    """Where a slice begins whose first places are `rows`."""
    number = lambda row: np.int32(row) if is_static(row) else jnp.int32(row)
    return [number(row) for row in (*rows, *(0,) * (dimensions - len(rows)))]


def take(tree, *rows):
    """Row `[n, e, …]` of every leaf."""

    def of_leaf(array):
        sizes = (*(1,) * len(rows), *array.shape[len(rows) :])
        part = lax.dynamic_slice(array, starts(rows, array.ndim), sizes)
        return lax.reshape(part, array.shape[len(rows) :])

    return jax.tree.map(of_leaf, tree)


def put(tree, values, *rows):
    """The tree with `values` in row `[n, e, …]` of every leaf."""

    def of_leaf(array, value):
        value = lax.expand_dims(value.astype(array.dtype), range(len(rows)))
        return lax.dynamic_update_slice(array, value, starts(rows, array.ndim))

    return jax.tree.map(of_leaf, tree, values)
